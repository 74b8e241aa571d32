package zone

import "errors"

// Limits of RFC 1035 section 2.3.4.
const (
	MaxName  = 255 // octets, the root label included
	MaxLabel = 63
)

// ErrName says that bytes are no domain name.
var ErrName = errors.New("zone: malformed domain name")

// Name is a domain name in lower case. It is about 400 bytes, holds no pointer,
// and is meant for the stack.
type Name struct {
	wire   Octets
	size   uint8
	labels uint8 // without the root
	start  [128]uint8
}

// Set makes n the uncompressed name at the start of wire and returns how many
// bytes it took there. The error is ErrName: too short, too long, or a label
// type other than 00 (a compression pointer, for example).
func Set[T ~string | ~[]byte](n *Name, wire T) (int, error) {
	at, labels := 0, 0
	for {
		if at >= len(wire) {
			return 0, ErrName
		}
		l := int(wire[at])
		if l > MaxLabel || at+1+l > len(wire) || at+1+l >= MaxName && l > 0 {
			return 0, ErrName
		}
		n.start[labels] = uint8(at)
		n.wire[at] = uint8(l)
		if l == 0 {
			break
		}
		for i := at + 1; i <= at+l; i++ {
			n.wire[i] = Lower(wire[i])
		}
		at += 1 + l
		labels++
	}
	n.size, n.labels = uint8(at+1), uint8(labels)
	return at + 1, nil
}

// Labels returns the number of labels, the root not counted.
func (n *Name) Labels() int { return int(n.labels) }

// Size returns the octets of n without its first i labels.
func (n *Name) Size(i int) int { return int(n.size) - int(n.start[i]) }

// Bytes returns n without its first i labels, in wire format and lower case.
// It is valid until the next Set.
func (n *Name) Bytes(i int) []byte { return n.wire[n.start[i]:n.size] }

// Octets returns n as it can be searched for. It is valid until the next Set.
func (n *Name) Octets() *Octets { return &n.wire }

// Hash returns the hash of n without its first i labels.
func (n *Name) Hash(i int) uint64 { return n.wire.Hash(int(n.start[i]), n.Size(i)) }

// Below says whether n is at or below the name suffix, which is in wire format
// and lower case.
func (n *Name) Below(suffix string) bool {
	i := n.Labels() - countLabels(suffix)
	return i >= 0 && string(n.Bytes(i)) == suffix
}

// Lower returns the lower-case form of an ASCII letter and every other octet
// as it is (RFC 4343).
func Lower(c byte) byte {
	if c-'A' < 26 {
		return c + 'a' - 'A'
	}
	return c
}

// countLabels counts the labels of a valid name in wire format.
func countLabels(name string) int {
	n := 0
	for at := 0; name[at] != 0; at += 1 + int(name[at]) {
		n++
	}
	return n
}
