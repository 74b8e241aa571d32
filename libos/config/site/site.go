// Package site holds a static web site in compiled form: a read-only table of ready
// responses, and the logic that picks the right one (RFC 9110, RFC 3986). It does
// not parse HTTP/1.1, does not open a connection, and does not allocate, but for
// responses with several ranges and for fields that a request repeats.
//
// A compiled site is a string, since string constants lie in memory that is never
// writable on the appliance. tools/configc writes it into Go source at build time.
//
// Layout; integers are little-endian, offsets count bytes from the start:
//
//	header    0 magic    u32  "AS\x00\x01"
//	          4 hosts    u32  offset of the host records
//	          8 count    u32  number of hosts
//	         12 names    u32  offset of the hash table of host names
//	         16 nmask    u32  number of its slots, a power of two, less one
//	         20 paths    u32  offset of the hash table of paths
//	         24 pmask    u32  number of its slots, less one
//	         28 boundary u32  offset of what parts of several ranges are parted by
//	         32 bsize    u16  its octets
//	         34 other    u16  the host for names that are not here, plus 1; 0: none
//	         36 wild     u16  1: there are names that begin with "*."
//	         38          u16
//	         40 size     u32  octets of the table
//	host      0 errors   u32  offset of entries: status u32, resource u32; status 0
//	                          is the last
//	          4          u32
//	name      0 host     u16
//	          2 length   u16
//	          4 name          in lower case, without port
//	resource  0 host     u16
//	          2 length   u16  octets of the path
//	          4 path     u32  offset of the path, decoded and normal
//	          8 status   u16  200; of a redirect, or of an error
//	         10 flags    u8
//	         11 variants u8   how many follow
//	         12 shared   u32  offset of fields that many resources have in common
//	         16 ssize    u32  their octets
//	         20          u32
//	         24 modified u64  seconds since 1970, 0: not known
//	variant   0 coding   u8
//	          1          u8
//	          2 tag      u16  octets of the entity tag with its quotes
//	          4 head     u32  the status line and Content-Length
//	          8 type     u32  Content-Type
//	         12 fields   u32  Content-Encoding, Accept-Ranges
//	         16 valid    u32  ETag, Last-Modified, Vary
//	         20 end      u32  of all that: head to end is the head of a whole response
//	         24 body     u32  offset
//	         28 size     u32  octets of the body
//	slot      0 high half of the hash u32, 4 offset of a name or resource u32, 0: free
//
// Parts of one block serve several statuses: head to end is that of 200, type to
// end that of 206 with one range, fields to end that with several, valid to end that
// of 304. Variants stand in the order of their sizes, the smallest first.
//
// A redirect has one variant without a body: its Location ends at type, which is
// where the query of the request goes.
package site

import "errors"

// Table is a compiled site. The zero value holds nothing, and must not be asked.
type Table string

// Coding is a content coding (RFC 9110, section 8.4.1).
type Coding uint8

// The codings.
const (
	Identity Coding = iota
	Gzip
	Brotli
	Zstd
	codings
)

// String is the coding's name in HTTP.
func (c Coding) String() string {
	switch c {
	case Gzip:
		return "gzip"
	case Brotli:
		return "br"
	case Zstd:
		return "zstd"
	}
	return "identity"
}

const (
	magic        = "AS\x00\x01"
	headerSize   = 44
	hostSize     = 8
	resourceSize = 32
	variantSize  = 32
	slotSize     = 8
)

// Flags of a resource.
const (
	redirect  = 1 << iota // it has a Location
	keepQuery             // the query of the request belongs behind it
)

// MaxPath is the longest path in octets, decoded.
const MaxPath = 1024

var errFormat = errors.New("site: not a compiled site of this version")

// Check says whether t is a compiled site of this version, and whole. It does not
// look into it: it comes from Compile.
func (t Table) Check() error {
	if len(t) < headerSize || t[:4] != magic || t.u32(40) != len(t) {
		return errFormat
	}
	return nil
}

// Hosts returns the number of hosts.
func (t Table) Hosts() int { return t.u32(8) }

func (t Table) u32(at int) int {
	s := t[at : at+4]
	return int(uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24)
}

func (t Table) u16(at int) int {
	s := t[at : at+2]
	return int(s[0]) | int(s[1])<<8
}

// A resource is the offset of one, 0 is none; a variant likewise.
type (
	resource int
	variant  int
)

func (t Table) status(r resource) int   { return t.u16(int(r) + 8) }
func (t Table) flags(r resource) byte   { return t[r+10] }
func (t Table) variants(r resource) int { return int(t[r+11]) }
func (t Table) path(r resource) Table   { at := t.u32(int(r) + 4); return t[at : at+t.u16(int(r)+2)] }
func (t Table) shared(r resource) Table { at := t.u32(int(r) + 12); return t[at : at+t.u32(int(r)+16)] }
func (t Table) modified(r resource) int64 {
	return int64(t.u32(int(r)+24)) | int64(t.u32(int(r)+28))<<32
}

func (t Table) variant(r resource, i int) variant {
	return variant(int(r) + resourceSize + i*variantSize)
}
func (t Table) coding(v variant) Coding { return Coding(t[v]) }

// part returns the octets from one of a variant's offsets to another.
func (t Table) part(v variant, from, to int) Table { return t[t.u32(int(v)+from):t.u32(int(v)+to)] }

// Offsets in a variant.
const (
	atHead   = 4
	atType   = 8
	atFields = 12
	atValid  = 16
	atEnd    = 20
	atBody   = 24
	atSize   = 28
)

func (t Table) tag(v variant) string {
	at := t.u32(int(v)+atValid) + len(tagField)
	return string(t[at : at+t.u16(int(v)+2)])
}

func (t Table) size(v variant) int { return t.u32(int(v) + atSize) }

func (t Table) body(v variant) Table {
	at := t.u32(int(v) + atBody)
	return t[at : at+t.size(v)]
}

// tagField is how valid begins.
const tagField = "ETag: "
