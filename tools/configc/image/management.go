package image

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"ampoule/libos/mgmt/certs"
)

// Management is the table [management].
type Management struct {
	Address                        netip.Addr
	Port                           int
	Clients                        []byte // PEM
	Own                            []byte // PEM; nil: made at boot
	Grants                         []Grant
	Slots, Connections, Handshakes int
	Pprof, Capture, Disk           bool
	DiskKey                        []byte // empty: given at the start
	Required                       []Required
	Initial                        []certs.Initial // of the appliance's services
	SSHPort                        int             // 0: none
	SSHKeys                        []SSHKey
}

// SSHKey is one of management.ssh_keys.
type SSHKey struct {
	Name   string
	Public []byte // wire format
	Role   int    // index in roles
}

// Grant is one of management.clients.
type Grant struct {
	SHA256 [32]byte
	Role   int // index in roles
}

// Required is one of management.certificates.
type Required struct {
	Slot  string
	Hosts []string
}

// roles are those of package mgmt, and what they are called there.
var (
	roles     = choice{"read", "operate"}
	roleNames = [...]string{"Read", "Operate"}
)

const inSoManyWords = consent("true: the private key becomes part of the image, and who has the image has the key")

func managementTable() *table {
	return &table{name: "management", about: "the management plane, over TLS with client certificates; left out, nothing of it is in the image", keys: []key{
		{name: "port", want: integer{1, 65535}, def: 9443, about: "port of TCP"},
		{name: "address", want: text(`one of the image's own addresses, such as "192.0.2.53"`), absent: "all addresses", about: "where it listens"},
		{name: "client_ca", want: text("the path of a file with the certificates of authorities, as PEM"), about: "who vouches for clients"},
		{name: "clients", want: tables("a list of clients, each [[management.clients]] with a sha256 and a role"), absent: "certificates have a role: OU=ampoule-read or OU=ampoule-operate",
			about: "what clients may do; with a list all others may do nothing"},
		{name: "certificate", want: text("the path of a file with a chain and its private key, as PEM"), absent: "made at boot, self-signed, its SHA-256 in the log",
			about: "its own certificate, until one is committed"},
		{name: "key_in_image", want: inSoManyWords, absent: "there is no certificate", about: "the word without which no private key is compiled in"},
		{name: "certificates", want: tables("a list of slots, each [[management.certificates]] with a slot and hosts"), absent: "any",
			about: "what committed certificates must be good for"},
		{name: "slots", want: integer{1, 1024}, def: 16, about: "certificates that are held at most"},
		{name: "connections", want: integer{1, 256}, def: 8, about: "connections open at a time; those without a handshake give way"},
		{name: "handshakes", want: integer{1, 1000}, def: 10, about: "handshakes that may begin in a second"},
		{name: "disk", want: flag{}, def: false, about: "keep committed certificates on the VM's first disk, their private keys sealed"},
		{name: "disk_key", want: text("the path of a file with a key: 64 hexadecimal digits"), absent: "given at the start, store-key= on the kernel command line",
			about: "what seals private keys on the disk"},
		{name: "disk_key_in_image", want: consent("true: the key becomes part of the image, and who has the image and the disk has the private keys"),
			absent: "there is no disk_key", about: "the word without which it is not compiled in"},
		{name: "ssh_port", want: integer{1, 65535}, absent: "no SSH", about: "port of the same verbs over SSH"},
		{name: "ssh_keys", want: tables("a list of keys, each [[management.ssh_keys]] with a name, a key and a role"), absent: "none, which with ssh_port is an error", about: "clients over SSH"},
		{name: "pprof", want: flag{}, def: false, about: "profiles of heap and goroutines"},
		{name: "capture", want: flag{}, def: false, about: "capture of packets"},
	}}
}

func grantTable() *table {
	return &table{name: "management.clients", about: "a client of the management plane, once for each: [[management.clients]]", keys: []key{
		{name: "sha256", want: text("the SHA-256 of its certificate, 64 hexadecimal digits, with or without colons"), about: "who"},
		{name: "role", want: roles, about: "read: look; operate: look and change"},
	}}
}

func sshKeyTable() *table {
	return &table{name: "management.ssh_keys", about: "a client over SSH, once for each: [[management.ssh_keys]]", keys: []key{
		{name: "name", want: text("1 to 64 letters, digits, dots and hyphens"), about: "who, in the log"},
		{name: "key", want: text(`a public key as in authorized_keys, such as "ssh-ed25519 AAAA..."`), about: "the public key: Ed25519, ECDSA, or RSA of 2048 bits or more"},
		{name: "role", want: roles, about: "read: look; operate: look and change"},
	}}
}

func requiredTable() *table {
	return &table{name: "management.certificates", about: "what a certificate must be good for, once for each slot: [[management.certificates]]", keys: []key{
		{name: "slot", want: text("1 to 64 small letters, digits, dots and hyphens"), about: "name of the slot"},
		{name: "hosts", want: sequence(`a list of host names and addresses, such as ["ns1.example.org"]`), about: "names that the certificate must have"},
	}}
}

// managementSection reads the table.
func managementSection(s *section, all []*table, n *Network) *Management {
	m := &Management{Port: s.integer("port"), Slots: s.integer("slots"), Connections: s.integer("connections"),
		Handshakes: s.integer("handshakes"), Pprof: s.flag("pprof"), Capture: s.flag("capture")}
	if t, v := s.text("address"); v != nil {
		a, err := netip.ParseAddr(t)
		if m.Address = a; err != nil || !n.has(a) {
			s.refuse("address", v)
		}
	}
	if name, v := s.text("client_ca"); v != nil {
		m.Clients = authorities(s, "client_ca", s.read("client_ca", v, filepath.ToSlash(s.beside(name))))
	}
	m.own(s)
	m.disk(s)
	for _, s := range s.tables("clients", all) {
		m.grant(s)
	}
	for _, s := range s.tables("certificates", all) {
		m.required(s)
	}
	m.ssh(s, all)
	return m
}

// ssh reads what there is about SSH.
func (m *Management) ssh(s *section, all []*table) {
	m.SSHPort = s.integer("ssh_port")
	for _, k := range s.tables("ssh_keys", all) {
		m.SSHKeys = append(m.SSHKeys, sshKey(k))
	}
	switch {
	case m.SSHPort > 0 && !s.has("ssh_keys"):
		s.missing("ssh_keys")
	case m.SSHPort == 0 && s.has("ssh_keys") && !s.has("ssh_port"):
		s.against("ssh_keys", s.value("ssh_keys"), "but there is no ssh_port")
	}
}

// sshKey reads one of management.ssh_keys.
func sshKey(s *section) SSHKey {
	k := SSHKey{Role: s.choice("role")}
	name, v := s.text("name")
	if v != nil && (name == "" || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "") {
		s.refuse("name", v)
	}
	k.Name = name
	if t, v := s.text("key"); v != nil {
		key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(t))
		if err != nil || len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 || !fit(key) {
			s.refuse("key", v)
		} else {
			k.Public = key.Marshal()
		}
	}
	return k
}

// fit says whether a public key is of a type and size that is taken.
func fit(key ssh.PublicKey) bool {
	c, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return false
	}
	switch k := c.CryptoPublicKey().(type) {
	case ed25519.PublicKey, *ecdsa.PublicKey:
		return true
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048
	}
	return false
}

// has says whether an address is one that the configuration gives to the image.
func (n *Network) has(a netip.Addr) bool {
	if n.IPv4.IsValid() && n.IPv4.Addr() == a {
		return true
	}
	for _, p := range n.IPv6 {
		if p.Addr() == a {
			return true
		}
	}
	return false
}

// authorities returns the certificates in a file as PEM, without anything else
// that is in it.
func authorities(s *section, key string, data []byte) []byte {
	if data == nil {
		return nil
	}
	a, err := certs.CheckAuthority(certs.Management, data, time.Now())
	if err != nil {
		s.unfit(key, err)
		return nil
	}
	var out bytes.Buffer
	for _, x := range a.Certificates {
		pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: x.Raw})
	}
	return out.Bytes()
}

// unfit says what is wrong with the certificates in a file.
func (s *section) unfit(key string, err error) {
	s.against(key, s.value(key), "but what is in it is not fit. %v", err)
}

// agreed says whether the file at key may be compiled in, which takes the word at
// consent, and returns its content.
func (s *section) agreed(key, consent string) []byte {
	yes := false
	if v := s.value(consent); v != nil {
		if yes, _ = v.V.(bool); !yes {
			s.refuse(consent, v)
		}
	}
	name, v := s.text(key)
	switch {
	case v == nil && yes:
		s.against(consent, s.value(consent), "but there is no %s", key)
	case v == nil:
	case !yes:
		if !s.has(consent) {
			s.missing(consent)
		}
	default:
		return s.read(key, v, filepath.ToSlash(s.beside(name)))
	}
	return nil
}

// own reads the plane's own certificate.
func (m *Management) own(s *section) {
	if m.Own = s.agreed("certificate", "key_in_image"); m.Own == nil {
		return
	}
	if _, err := certs.Check(certs.Management, m.Own, time.Now()); err != nil {
		s.unfit("certificate", err)
	}
}

// disk reads what there is about the disk.
func (m *Management) disk(s *section) {
	m.Disk = s.flag("disk")
	text := s.agreed("disk_key", "disk_key_in_image")
	if text != nil {
		key, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if m.DiskKey = key; err != nil || len(key) != 32 {
			s.errorf("disk_key", s.value("disk_key"), "%s; what is in it is none", s.schema.key("disk_key").want)
		}
	}
	if v := s.value("disk_key"); v != nil && !m.Disk {
		s.against("disk_key", v, "but disk = true is not there")
	}
}

// grant reads one of management.clients.
func (m *Management) grant(s *section) {
	g := Grant{Role: s.choice("role")}
	if t, v := s.text("sha256"); v != nil {
		sum, err := hex.DecodeString(strings.ReplaceAll(t, ":", ""))
		if err != nil || len(sum) != len(g.SHA256) {
			s.refuse("sha256", v)
		}
		copy(g.SHA256[:], sum)
		for _, o := range m.Grants {
			if o.SHA256 == g.SHA256 {
				s.against("sha256", v, "a client that is there already")
			}
		}
	}
	m.Grants = append(m.Grants, g)
}

// required reads one of management.certificates.
func (m *Management) required(s *section) {
	var r Required
	r.Slot = s.slotName("slot")
	for _, o := range m.Required {
		if o.Slot == r.Slot && r.Slot != "" {
			s.against("slot", s.value("slot"), "a slot that is there already")
		}
	}
	if s.has("hosts") {
		for _, v := range s.strings("hosts") {
			r.Hosts = append(r.Hosts, v.V.(string))
		}
	}
	m.Required = append(m.Required, r)
}

// imports are the packages that source uses.
func (m *Management) imports() []string {
	paths := []string{"ampoule/libos/mgmt", "ampoule/libos/mgmt/own"}
	if len(m.Required)+len(m.Initial) > 0 {
		paths = append(paths, "ampoule/libos/mgmt/certs")
	}
	if m.Disk {
		paths = append(paths, "ampoule/libos/mgmt/persist", "ampoule/boot/platform")
	}
	if m.SSHPort > 0 {
		paths = append(paths, "ampoule/libos/mgmt/shell")
	}
	if m.Pprof {
		paths = append(paths, "ampoule/libos/mgmt/profile")
	}
	if m.Capture {
		paths = append(paths, "ampoule/libos/mgmt/capture")
	}
	return paths
}

// source writes the field of config.System.
func (m *Management) source(w io.Writer) {
	fmt.Fprint(w, "\tManagement: &mgmt.Config{\n")
	if m.Address.IsValid() {
		fmt.Fprintf(w, "\t\tAddress: %s, // %s\n", addr(m.Address), m.Address)
	}
	fmt.Fprintf(w, "\t\tPort: %d,\n\t\tSlots: %d,\n\t\tConnections: %d,\n\t\tHandshakes: %d,\n\t\tClients: %q,\n",
		m.Port, m.Slots, m.Connections, m.Handshakes, m.Clients)
	if m.Own != nil {
		fmt.Fprintf(w, "\t\tOwn: own.Given(%q),\n", m.Own)
	} else {
		fmt.Fprint(w, "\t\tOwn: own.SelfSigned{},\n")
	}
	if len(m.Grants) > 0 {
		fmt.Fprint(w, "\t\tGrants: []mgmt.Grant{\n")
		for _, g := range m.Grants {
			fmt.Fprintf(w, "\t\t\t{SHA256: %#v, Role: mgmt.%s},\n", g.SHA256, roleNames[g.Role])
		}
		fmt.Fprint(w, "\t\t},\n")
	}
	if len(m.Required) > 0 {
		fmt.Fprint(w, "\t\tRequired: []certs.Required{\n")
		for _, r := range m.Required {
			fmt.Fprintf(w, "\t\t\t{Slot: %q, Hosts: %#v},\n", r.Slot, r.Hosts)
		}
		fmt.Fprint(w, "\t\t},\n")
	}
	m.initialSource(w)
	if m.Pprof || m.Capture || m.SSHPort > 0 {
		fmt.Fprint(w, "\t\tParts: []mgmt.Part{")
		if m.Pprof {
			fmt.Fprint(w, "profile.Part{}, ")
		}
		if m.Capture {
			fmt.Fprint(w, "capture.Part{}, ")
		}
		if m.SSHPort > 0 {
			fmt.Fprintf(w, "shell.Part{Port: %d, Keys: []shell.Key{\n", m.SSHPort)
			for _, k := range m.SSHKeys {
				fmt.Fprintf(w, "\t\t\t{Name: %q, Public: %q, Role: mgmt.%s},\n", k.Name, k.Public, roleNames[k.Role])
			}
			fmt.Fprint(w, "\t\t}}, ")
		}
		fmt.Fprint(w, "},\n")
	}
	if m.Disk {
		fmt.Fprintf(w, "\t\tKeep: persist.Disk{Key: %q},\n\t},\n\tDisk: platform.Disk,\n", m.DiskKey)
		return
	}
	fmt.Fprint(w, "\t},\n")
}
