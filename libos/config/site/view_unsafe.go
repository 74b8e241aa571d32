package site

import "unsafe"

// view returns s as bytes, which nobody may write.
//
// Invariant: a Response hands them out for reading only. On the appliance s lies in
// pages that are not writable, so that a write would be a fault.
func view[S ~string](s S) []byte { return unsafe.Slice(unsafe.StringData(string(s)), len(s)) }
