package netif

import "unsafe"

// view is s as bytes, which nobody may write.
func view(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
