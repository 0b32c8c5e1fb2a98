"""Colours and layout of the state page, for light and dark screens and for paper."""

STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1c1f23;--soft:#5a626c;
--line:#d9dce0;--accent:#1f5faa;--aoi:#1f5faa;--plume:#b3261e;--good:#1b6e3c;
--c1:#d6eadb;--c2:#a5d4b1;--c3:#6db985;--c4:#37965b;--c5:#146b3a}
@media (prefers-color-scheme:dark){:root{--paper:#14171a;--card:#1d2125;--ink:#e8eaed;
--soft:#a4acb5;--line:#3a4047;--accent:#8ab8f0;--aoi:#8ab8f0;--plume:#ff8a80;--good:#7fd39c;
--c1:#1e3527;--c2:#24543a;--c3:#2f7a50;--c4:#4ba673;--c5:#86dba6}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main,header,footer{max-width:1180px;margin:0 auto;padding:0 24px}
header{padding-top:36px}
h1{font-size:30px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:20px;margin:44px 0 6px}
h3{font-size:15px;margin:0}
p{margin:4px 0 12px;max-width:75ch}
.soft,figcaption,caption{color:var(--soft)}
code{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
a{color:var(--accent)}
.skip{position:absolute;left:-999px}.skip:focus{left:8px;top:8px;background:var(--card);padding:8px}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(128px,1fr));gap:12px;
margin:22px 0 0;padding:0}
.figures div{background:var(--card);border:1px solid var(--line);border-radius:10px;
padding:12px 16px}
.figures dt{color:var(--soft);font-size:13px}
.figures dd{margin:0;font-size:23px;font-weight:650;white-space:nowrap;
font-variant-numeric:tabular-nums}
.row{display:flex;flex-wrap:wrap;gap:16px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px}
.maps .card{flex:1 1 380px}
.calendars{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(350px,100%),1fr));gap:16px}
.calendars .card{overflow-x:auto}
.calendars h4{margin:12px 0 2px;font-size:13px;font-weight:500;color:var(--soft)}
svg text{fill:var(--soft);font-size:11px;font-family:inherit}
svg.map{width:100%;height:auto;max-height:460px}
.grid{stroke:var(--line);fill:none}
.aoi{fill:color-mix(in srgb,var(--aoi) 12%,transparent);stroke:var(--aoi);stroke-width:2}
.plume path{fill:color-mix(in srgb,var(--plume) 45%,transparent);stroke:var(--plume)}
.plume circle{fill:color-mix(in srgb,var(--plume) 22%,transparent);stroke:var(--plume);
stroke-width:1.5}
.plume.doubtful path,.plume.doubtful circle{fill:none;stroke-dasharray:3 2}
.day rect{stroke:var(--line);stroke-width:1}
.empty rect{fill:none}
.pending rect{fill:none;stroke:var(--soft);stroke-dasharray:2 2}
.c1 rect{fill:var(--c1)}.c2 rect{fill:var(--c2)}.c3 rect{fill:var(--c3)}
.c4 rect{fill:var(--c4)}.c5 rect{fill:var(--c5)}
.cross{stroke:var(--plume);stroke-width:2}
.key{display:flex;flex-wrap:wrap;gap:4px 16px;align-items:center;color:var(--soft);font-size:13px}
.key svg{vertical-align:-2px;margin-right:5px}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:16px}
figure{margin:0}
figure img{width:100%;height:auto;border-radius:6px;border:1px solid var(--line);background:#fff}
figcaption{font-size:13px;margin-top:4px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:0 0 8px;font-size:13px}
th,td{text-align:left;padding:7px 14px 7px 0;border-bottom:1px solid var(--line);
vertical-align:top;white-space:nowrap}
td:last-child:not(.number){white-space:normal;min-width:16em}
th{font-size:13px;font-weight:600;color:var(--soft)}
.number{text-align:right}
footer{padding:36px 24px;color:var(--soft);font-size:13px}
@media print{.card,.figures div{break-inside:avoid}}
"""
