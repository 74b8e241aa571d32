package mgmt

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
)

// Role is what a client may do.
type Role uint8

const (
	None    Role = iota
	Read         // look
	Operate      // look and change
)

func (r Role) String() string {
	switch r {
	case Read:
		return "read"
	case Operate:
		return "operate"
	}
	return "none"
}

// Grant gives a role to the client whose certificate has a SHA-256.
type Grant struct {
	SHA256 [32]byte
	Role   Role
}

// What a certificate says of its holder's role: an organizational unit.
const (
	unitRead    = "ampoule-read"
	unitOperate = "ampoule-operate"
)

// role is the role of a client, whose certificate has been verified: by its
// fingerprint if the configuration has any, else by an organizational unit in its
// subject. A certificate that has both has the lesser one, and one that has none
// may do nothing.
func (c *Config) role(x *x509.Certificate) Role {
	if len(c.Grants) > 0 {
		sum := sha256.Sum256(x.Raw)
		for _, g := range c.Grants {
			if g.SHA256 == sum {
				return g.Role
			}
		}
		return None
	}
	switch {
	case slices.Contains(x.Subject.OrganizationalUnit, unitRead):
		return Read
	case slices.Contains(x.Subject.OrganizationalUnit, unitOperate):
		return Operate
	}
	return None
}
