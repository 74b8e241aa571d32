package image

import (
	"fmt"
	"io"
	"time"
)

// tlsSource writes the package config of the TLS terminator.
func (img *Image) tlsSource(w io.Writer) {
	t := &img.TLS
	source, from := "ampoule/appliances/tls/certs", "Certificates: func() (*certs.Generation, error) { return certs.Load(certificates, clients) }"
	if t.ClientCRL != "" {
		from = `Certificates: func() (*certs.Generation, error) {
		g, err := certs.Load(certificates, clients)
		return certs.WithLists(g, err, lists, clients)
	}`
	}
	if img.Mgmt != nil {
		source, from = "ampoule/appliances/tls/managed", fmt.Sprintf("Managed: managed.Certificates{Clients: %t}", t.AskClients)
	}
	img.imports(w, []string{"crypto/tls", "time"}, "ampoule/appliances/tls/backend", source,
		"ampoule/appliances/tls/proxyproto", "ampoule/appliances/tls/session", "ampoule/appliances/tls/tlsd")
	img.system(w)
	fmt.Fprintf(w, "\n// TLS is the appliance's own part.\nvar TLS = tlsd.Config{\n\tPort: %d,\n\t%s,\n\tProxy: proxyproto.%s,\n",
		t.Port, from, [...]string{"None", "V1", "V2"}[t.Proxy])
	fmt.Fprintf(w, "\tSession: session.Config{\n\t\tMinVersion: tls.%s,\n\t\tRefuseUnknown: %t,\n\t\tRequireClient: %t,\n\t\tTickets: %s,\n",
		[...]string{"VersionTLS12", "VersionTLS13"}[t.MinVersion], t.UnknownName == 1, t.RequireClient, milliseconds(t.TicketRotation))
	if len(t.ALPN) > 0 {
		fmt.Fprintf(w, "\t\tALPN: %#v,\n", t.ALPN)
	}
	fmt.Fprintf(w, "\t},\n\tBackends: backend.Config{\n\t\tConnect: %s,\n\t\tAttempt: %s,\n\t\tHealth: backend.Health{Every: %s, Timeout: %s, Fall: %d, Rise: %d},\n\t\tServers: []backend.Server{\n",
		milliseconds(t.Connect), milliseconds(t.Attempt), milliseconds(t.Health.Every), milliseconds(t.Health.Timeout), t.Health.Fall, t.Health.Rise)
	for _, b := range t.Backends {
		fmt.Fprintf(w, "\t\t\t{Address: %q, Connections: %d, Backup: %t},\n", b.Addr, b.Connections, b.Backup)
	}
	fmt.Fprint(w, "\t\t},\n\t},\n\tLimits: tlsd.Limits{\n")
	fmt.Fprintf(w, "\t\tConnections: %d,\n\t\tHandshakes: %d,\n\t\tPerClient: %d,\n\t\tBuffers: %d,\n", t.Connections, t.Handshakes, t.PerClient, t.Buffers)
	fmt.Fprintf(w, "\t\tHandshake: %s,\n\t\tIdle: %s,\n\t\tHalfClosed: %s,\n\t\tStall: %s,\n\t\tLifetime: %s,\n\t},\n}\n",
		milliseconds(t.Handshake), milliseconds(t.Idle), milliseconds(t.HalfClosed), milliseconds(t.Stall), milliseconds(t.Lifetime))
	if img.Mgmt == nil {
		t.compiledSource(w)
	}
}

// compiledSource writes the certificates of an image without management plane.
func (t *TLS) compiledSource(w io.Writer) {
	fmt.Fprint(w, "\n// clients are the authorities for certificates of clients.\nvar clients = []string{\n")
	for _, der := range t.ClientCAs {
		bytesSource(w, der, ",\n")
	}
	fmt.Fprint(w, "}\n")
	if t.ClientCRL != "" {
		fmt.Fprint(w, "\n// lists are their revocation lists.\nconst lists = ")
		bytesSource(w, t.ClientCRL, "\n")
	}
	fmt.Fprint(w, "\n// certificates are what the image begins with.\nvar certificates = []certs.Compiled{\n")
	for _, c := range t.Certificates {
		fmt.Fprintf(w, "\t{\n\t\tNames: %#v,\n\t\tDefault: %t,\n\t\tChain: []string{\n", c.Names, c.Default)
		for _, der := range c.Chain {
			bytesSource(w, der, ",\n")
		}
		fmt.Fprint(w, "\t\t},\n\t\tKey: ")
		bytesSource(w, c.Key, ",\n")
		if c.Staple != "" {
			fmt.Fprint(w, "\t\tStaple: ")
			bytesSource(w, c.Staple, ",\n")
		}
		fmt.Fprint(w, "\t},\n")
	}
	fmt.Fprint(w, "}\n")
}

// milliseconds is a time as Go.
func milliseconds(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	return fmt.Sprintf("%d * time.Millisecond", d.Milliseconds())
}

// bytesSource writes bytes as a constant.
func bytesSource(w io.Writer, s, end string) {
	const most = 256
	for len(s) > most {
		fmt.Fprintf(w, "%s +\n\t\t\t", literal(s[:most]))
		s = s[most:]
	}
	fmt.Fprintf(w, "%s%s", literal(s), end)
}
