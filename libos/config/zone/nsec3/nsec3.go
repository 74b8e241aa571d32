// Package nsec3 is the hash of denials by hash (RFC 5155 section 5). It is a
// package of its own so that an image whose zones need none does not link it.
package nsec3

import "crypto/sha1"

// Hash is SHA-1, the only algorithm there is.
func Hash(b []byte) [sha1.Size]byte { return sha1.Sum(b) }
