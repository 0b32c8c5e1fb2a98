"""Evalscripts, run as the Process API runs them: a small JavaScript over whole arrays of pixels.

The subset: functions (arrow ones too), `var`, `let`, `const`, `if`, `for`, `for of`, `while`,
`return`, `break`, `continue`, `throw`; numbers, strings, arrays, objects; the operators of
arithmetic, comparison, logic and assignment; and the members in `library`. No classes, regular
expressions, dates or `this`. What is not understood is an error, never a guess.
"""
