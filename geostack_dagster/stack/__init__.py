"""From Items, a grid and bands to a lazy xarray Dataset."""
