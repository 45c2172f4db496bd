package main

// noReferenceError says why this machine or build has no reference.
type noReferenceError struct{ why string }

func (e *noReferenceError) Error() string { return e.why }
