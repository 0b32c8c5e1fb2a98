"""Retrievals in JAX: arrays in, arrays out.

Importing the package sets JAX up once, for every module below it:

- 64-bit numbers exist. Retrievals solve in float64, maps and networks are float32, and every
  array says which: nothing here relies on a default dtype.
- Matrix products keep the precision of their operands. On a CPU that is so anyway; a GPU would
  otherwise round float32 operands to TF32, which costs a covariance three digits.

Kernels have rows and columns as `y x` with the spectral axis last (`y x band`), except for the
index maps, whose stacked bands come as they lie in the cube (`band y x`).
"""

import jax

jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]  # noqa: FBT003
jax.config.update("jax_default_matmul_precision", "highest")  # type: ignore[no-untyped-call]
