"""Twins of the providers on loopback, and the synthetic world they serve.

    with Sandbox() as sandbox:
        subprocess.run(command, env=os.environ | sandbox.environment)

Production code never knows: it sees a proxy and a certificate bundle in its environment.
"""

from geostack_dagster.sandbox.sandbox import AOIS, DESERT, Sandbox, run, up

__all__ = ["AOIS", "DESERT", "Sandbox", "run", "up"]
