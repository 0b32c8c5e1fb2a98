"""The development server refuses a port that is taken, before anything is started."""

import socket

from typer.testing import CliRunner

from geostack_dagster.cli.app import app


def test_a_taken_port_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        result = CliRunner().invoke(app, ["dev", "--home", str(tmp_path), "--port", str(port)])

    assert result.exit_code == 2
    assert f"something answers at port {port} already" in result.output
    assert list(tmp_path.iterdir()) == []
