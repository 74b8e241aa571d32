// Package nsec3 is the hash of denials by hash (RFC 5155 section 5). It is a
// package of its own so that an image whose zones need none does not link it.
package nsec3

import "crypto/sha1"

// Hash is SHA-1, the only algorithm there is, of the first n bytes of b: a
// name in wire form, or a hash, with the salt behind it. b is not
// a slice, as callers know Hash by a variable, and their buffer would escape.
func Hash(b [510]byte, n int) [sha1.Size]byte { return sha1.Sum(b[:n]) }
