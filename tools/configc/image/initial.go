package image

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"strings"
	"time"

	"ampoule/libos/mgmt/certs"
)

// initial are certificates and authorities that the management plane begins with.
func (t *TLS) initial(s *section, m *Management) {
	seen, good := map[string]int{}, true
	for i := range t.Certificates {
		c := &t.Certificates[i]
		if c.Key == "" {
			good = false // what is wrong is reported
			continue
		}
		slot := c.slot()
		if line, there := seen[slot]; there {
			s.list.Errorf(s.file, c.line, "tls.certificates: its slot is %q, which that in line %d has; must have a slot of its own", slot, line)
			good = false
		}
		seen[slot] = c.line
		data := pemOf("CERTIFICATE", c.Chain...) + pemOf("PRIVATE KEY", c.Key)
		if _, err := certs.Check(slot, []byte(data), time.Now()); err != nil {
			s.list.Errorf(s.file, c.line, "tls.certificates: the management plane would not take it for the slot %q. %v", slot, err)
			good = false
			continue
		}
		m.Initial = append(m.Initial, certs.Initial{Kind: certs.KindCertificate, Slot: slot, PEM: data, Staple: c.Staple})
	}
	if n := len(t.Certificates) + 1; n > m.Slots {
		s.list.Errorf(s.file, s.table.Line, "tls.certificates: there are %d, and the management plane has one of its own; management.slots must be at least %d", n-1, n)
	}
	if len(t.ClientCAs) > 0 {
		m.Initial = append(m.Initial, certs.Initial{Kind: certs.KindAuthority, Slot: "clients", PEM: pemOf("CERTIFICATE", t.ClientCAs...)})
	}
	if t.ClientCRL != "" {
		m.Initial = append(m.Initial, certs.Initial{Kind: certs.KindCRL, Slot: "clients", PEM: t.ClientCRL})
	}
	if !good {
		return
	}
	if err := certs.New(certs.Config{Slots: m.Slots, Now: time.Now}, nil, nil).Begin(m.Initial); err != nil {
		s.list.Errorf(s.file, s.table.Line, "tls: the management plane would not begin with this. %v", err)
	}
}

// slot is the name by which the management plane has a certificate.
func (c *Certificate) slot() string {
	switch {
	case c.Slot != "":
		return c.Slot
	case c.Default || len(c.Names) == 0:
		return certs.Default
	}
	name := strings.ReplaceAll(c.Names[0], "_", "-")
	if parent, ok := strings.CutPrefix(name, "*."); ok {
		name = "any." + parent
	}
	return strings.TrimLeft(name[:min(len(name), 64)], ".-")
}

// slotName reads the name of a slot; "" if there is none, or it is wrong.
func (s *section) slotName(key string) string {
	slot, v := s.text(key)
	if v == nil {
		return ""
	}
	if slot == "" || len(slot) > 64 || strings.Trim(slot, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" || slot[0] == '.' || slot[0] == '-' {
		s.refuse(key, v)
		return ""
	}
	return slot
}

// managed checks what a certificate says for the sake of the management plane.
func (c *Certificate) managed(s *section, m *Management) {
	c.Slot = s.slotName("slot")
	v := s.value("slot")
	switch {
	case m == nil && v != nil:
		s.against("slot", v, "but there is no [management]")
	case m == nil:
	case c.Slot == certs.Management:
		s.against("slot", v, "which is that of the management plane's own certificate")
	case c.Default && c.Slot != "" && c.Slot != certs.Default:
		s.against("default", s.value("default"), "but the management plane has the default in the slot %q", certs.Default)
	case s.has("names"):
		s.list.Errorf(s.file, s.value("names").Line, "tls.certificates.names: is there, but with [management] a certificate is for all the names that it has")
	}
}

func pemOf(kind string, ders ...string) string {
	var b bytes.Buffer
	for _, der := range ders {
		pem.Encode(&b, &pem.Block{Type: kind, Bytes: []byte(der)})
	}
	return b.String()
}

// initialSource writes the field of mgmt.Config.
func (m *Management) initialSource(w io.Writer) {
	if len(m.Initial) == 0 {
		return
	}
	kinds := map[certs.Kind]string{certs.KindCertificate: "KindCertificate", certs.KindAuthority: "KindAuthority", certs.KindCRL: "KindCRL"}
	fmt.Fprint(w, "\t\tInitial: []certs.Initial{\n")
	for _, i := range m.Initial {
		fmt.Fprintf(w, "\t\t\t{Kind: certs.%s, Slot: %q, PEM: ", kinds[i.Kind], i.Slot)
		bytesSource(w, i.PEM, "")
		if i.Staple != "" {
			fmt.Fprint(w, ", Staple: ")
			bytesSource(w, i.Staple, "")
		}
		fmt.Fprint(w, "},\n")
	}
	fmt.Fprint(w, "\t\t},\n")
}
