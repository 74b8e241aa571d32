// Package shell is the part of the management plane that has its verbs over SSH
// (RFC 4251 to 4254), for clients with a public key that the configuration lists:
// one command for each session, in words, whose answer is text, or JSON with
// --json. There is no shell, no terminal, no forwarding and no file transfer.
//
// The host's key is made at the first boot and kept where the plane keeps anything
// over a restart, else made at each boot. Its SHA-256 is in the log.
package shell

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"ampoule/libos/format"
	"ampoule/libos/http1"
	"ampoule/libos/mgmt"
	"ampoule/libos/mgmt/certs"
	"ampoule/libos/mgmt/door"
	"ampoule/libos/mgmt/plane"
)

// Key is a client.
type Key struct {
	Name   string // in the log
	Public string // in wire format (RFC 4253, section 6.6)
	Role   mgmt.Role
}

// Part is a mgmt.Part and a mgmt.Starter. It is plain data that tools/configc
// writes as Go source.
type Part struct {
	Port uint16
	Keys []Key
}

// Limits of one connection.
const (
	handshakeTime  = 10 * time.Second
	connectionTime = 5 * time.Minute
	maxConnections = 8
	maxHandshakes  = 10 // in a second
	maxSessions    = 16
)

// Routes implements mgmt.Part: there are none.
func (Part) Routes(*plane.Host) []mgmt.Route { return nil }

// Start implements mgmt.Starter.
func (p Part) Start(h *plane.Host, do mgmt.Do) (func(context.Context) error, error) {
	signer, kept, err := hostKey(h)
	if err != nil {
		return nil, format.Errorf("ssh: %w", err)
	}
	s := &server{keys: p.Keys, host: h, do: do,
		door: door.New(door.Config{Places: maxConnections, Rate: maxHandshakes}, time.Now)}
	s.config = &ssh.ServerConfig{ServerVersion: "SSH-2.0-ampoule", MaxAuthTries: 3, PublicKeyCallback: s.key}
	s.config.KeyExchanges = []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519}
	s.config.PublicKeyAuthAlgorithms = ssh.SupportedAlgorithms().PublicKeyAuths // without SHA-1
	s.config.Ciphers = []string{ssh.CipherChaCha20Poly1305, ssh.CipherAES128GCM, ssh.CipherAES256GCM}
	s.config.AddHostKey(signer)
	if s.listen, err = h.Listen("tcp", ":"+strconv.Itoa(int(p.Port))); err != nil {
		return nil, err
	}
	h.Log.Info("management by SSH", "port", p.Port, "key", ssh.FingerprintSHA256(signer.PublicKey()), "kept", kept)
	return s.serve, nil
}

// seedName is the name of the host key's seed in a plane.Box.
const seedName = "ssh-host-key"

// hostKey is the host's key, and whether the next start has it too.
func hostKey(h *plane.Host) (key ssh.Signer, kept bool, err error) {
	var seed []byte
	if h.Box != nil {
		seed, kept = h.Box.Get(seedName)
	}
	if len(seed) != ed25519.SeedSize {
		seed, kept = make([]byte, ed25519.SeedSize), false
		if _, err := io.ReadFull(h.Rand, seed); err != nil {
			return nil, false, format.Errorf("no randomness: %w", err)
		}
		if h.Box != nil {
			err := h.Box.Put(seedName, seed)
			if kept = err == nil; !kept {
				h.Log.Error("the key of the SSH host is not kept", "error", err)
			}
		}
	}
	key, err = ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
	return key, kept, err
}

type server struct {
	keys   []Key
	host   *plane.Host
	do     mgmt.Do
	config *ssh.ServerConfig
	listen net.Listener
	door   *door.Door
}

// What is known of a client, in its permissions.
const keyIndex = "ampoule-key"

// key takes a client's public key, or refuses it.
func (s *server) key(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	for i, k := range s.keys {
		if k.Public == string(key.Marshal()) {
			return &ssh.Permissions{Extensions: map[string]string{keyIndex: strconv.Itoa(i)}}, nil
		}
	}
	return nil, errors.New("unknown key")
}

// serve takes connections until ctx is done.
func (s *server) serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.close)()
	for {
		c, err := s.listen.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return format.Errorf("ssh: %w", err)
		}
		g, err := s.door.Enter(c)
		if err != nil {
			c.Close()
			continue
		}
		if ctx.Err() != nil {
			c.Close() // close may have looked at the guests already
		}
		go func() {
			defer g.Leave()
			defer func() {
				if r := recover(); r != nil {
					s.host.Log.Error("a management client made the server panic", "from", c.RemoteAddr(), "panic", r)
				}
			}()
			s.connection(g)
		}()
	}
}

func (s *server) close() {
	s.listen.Close()
	s.door.Close()
}

// connection makes the handshake and serves sessions, one after the other.
func (s *server) connection(c *door.Guest) {
	c.SetDeadline(time.Now().Add(handshakeTime))
	conn, channels, requests, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		s.host.Log.Debug("management by SSH refused", "client", c.RemoteAddr(), "error", err)
		return
	}
	defer conn.Close()
	c.Known()
	c.SetDeadline(time.Now().Add(connectionTime))
	go ssh.DiscardRequests(requests)
	i, err := strconv.Atoi(conn.Permissions.Extensions[keyIndex])
	if err != nil {
		return
	}
	sessions := 0
	for ch := range channels {
		if sessions++; ch.ChannelType() != "session" || sessions > maxSessions {
			ch.Reject(ssh.Prohibited, "one command for each session, and nothing else")
			continue
		}
		session, requests, err := ch.Accept()
		if err != nil {
			return
		}
		s.session(&s.keys[i], session, requests)
	}
}

// session serves the one command of a session.
func (s *server) session(k *Key, session ssh.Channel, requests <-chan *ssh.Request) {
	defer session.Close()
	for r := range requests {
		var exec struct{ Command string }
		switch {
		case r.Type == "exec" && ssh.Unmarshal(r.Payload, &exec) == nil:
		case r.Type == "shell":
			exec.Command = "shell" // which is no command, and that is what the client reads
		default:
			r.Reply(false, nil)
			continue
		}
		r.Reply(true, nil)
		go ssh.DiscardRequests(requests)
		out, problem := s.run(k, exec.Command, session)
		session.Write(out)
		io.WriteString(session.Stderr(), problem)
		status := uint32(0)
		if problem != "" {
			status = 1
		}
		session.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
		return
	}
}

// run runs a command and returns what it prints, and what was wrong.
func (s *server) run(k *Key, line string, stdin io.Reader) (out []byte, problem string) {
	a, err := parse(line)
	if err != nil {
		return nil, err.Error() + "\n"
	}
	if a.method == "" {
		return []byte(help), ""
	}
	var body []byte
	if a.body {
		if body, err = io.ReadAll(io.LimitReader(stdin, certs.MaxBundle+1)); err != nil {
			return nil, "The input could not be read.\n"
		}
	}
	if a.word != "" {
		body = []byte(a.word)
	}
	x := &http1.Exchange{Status: 200, Now: s.host.Now(), Body: body}
	x.Method, x.Path, x.Query = []byte(a.method), []byte(a.path), []byte(a.query)
	s.do("ssh:"+k.Name, k.Role, x, a.generation)
	text := x.Out
	if x.Type == "application/json" && !a.json {
		text = readable(x.Out)
	}
	if x.Status >= 300 {
		return nil, string(text)
	}
	return text, ""
}
