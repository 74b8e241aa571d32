package dnsdiff

import (
	"encoding/base64"
	"fmt"
	"strings"

	"ampoule/libos/config/zone"
)

// Signed says whether the zone is signed.
func (z *Zone) Signed() bool { return z.table.Signed() }

// Recorded says whether the zone was signed by others, long ago.
func (z *Zone) Recorded() bool {
	return z.Origin == "nsec.example." || z.Origin == "nsec3.example." || z.Origin == "optout.example."
}

// OptOut says whether the zone's NSEC3 records leave insecure delegations out (RFC
// 5155 section 6).
func (z *Zone) OptOut() bool { return strings.HasPrefix(z.Origin, "optout") }

// Anchor is the trust anchor for the zone, as delv reads it: its keys with the flag
// SEP.
func (z *Zone) Anchor() string {
	set, _ := z.table.RRset(z.table.Apex(), zone.TypeDNSKEY)
	var b strings.Builder
	for data, ok := set.Next(); ok; data, ok = set.Next() {
		if data[1]&1 != 0 {
			fmt.Fprintf(&b, "%s static-key %d 3 %d %q;\n", z.Origin, uint16(data[0])<<8|uint16(data[1]), data[3],
				base64.StdEncoding.EncodeToString([]byte(data[4:])))
		}
	}
	return b.String()
}
