// Package algorithm has the algorithms of TSIG (RFC 8945 section 6). It is apart
// from package tsig so that an image without keys has no hashes.
package algorithm

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"ampoule/appliances/dns/tsig"
)

// SHA256 is the algorithm that all who know TSIG have. SHA1 is there for peers that
// have no other.
var (
	SHA1 = tsig.Algorithm{Name: "\x09hmac-sha1\x00", Size: sha1.Size,
		New: func(secret []byte) hash.Hash { return hmac.New(sha1.New, secret) }}
	SHA256 = tsig.Algorithm{Name: "\x0bhmac-sha256\x00", Size: sha256.Size,
		New: func(secret []byte) hash.Hash { return hmac.New(sha256.New, secret) }}
	SHA384 = tsig.Algorithm{Name: "\x0bhmac-sha384\x00", Size: sha512.Size384,
		New: func(secret []byte) hash.Hash { return hmac.New(sha512.New384, secret) }}
	SHA512 = tsig.Algorithm{Name: "\x0bhmac-sha512\x00", Size: sha512.Size,
		New: func(secret []byte) hash.Hash { return hmac.New(sha512.New, secret) }}
)
