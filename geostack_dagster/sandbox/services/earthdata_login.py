"""NASA Earthdata Login."""

from geostack_dagster.sandbox.earthdata_login import LOGIN_HOST, EarthdataLogin
from geostack_dagster.sandbox.service import Service, Setting


def earthdata_login(setting: Setting) -> Service:
    """The login service; the account has no token yet, so clients exchange its password for one."""
    user = setting.accounts.earthdata_user
    return Service(
        hosts=(LOGIN_HOST,),
        app=EarthdataLogin(user, setting.accounts.earthdata).app(),
        variables={"EARTHDATA_USERNAME": user.name, "EARTHDATA_PASSWORD": user.password},
    )
