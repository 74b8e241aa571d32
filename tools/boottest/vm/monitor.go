package vm

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"sync"
)

// monitor speaks QMP, QEMU's machine protocol. One command is under way at a
// time; events are read all the while, and the reason of a shutdown is kept.
type monitor struct {
	conn    io.ReadWriteCloser
	turn    sync.Mutex // held by the command under way
	replies chan qmpMessage
	mu      sync.Mutex
	reason  string // of the SHUTDOWN event
}

type qmpMessage struct {
	Greeting json.RawMessage `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Event    string          `json:"event"`
	Data     struct {
		Reason string `json:"reason"`
	} `json:"data"`
	Error *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

// newMonitor starts reading from conn; the monitor closes it at its end.
func newMonitor(conn io.ReadWriteCloser) *monitor {
	m := &monitor{conn: conn, replies: make(chan qmpMessage, 4)}
	go m.read()
	return m
}

func (m *monitor) read() {
	defer close(m.replies)
	for d := json.NewDecoder(m.conn); ; {
		var msg qmpMessage
		if d.Decode(&msg) != nil {
			return
		}
		if msg.Event == "SHUTDOWN" {
			m.mu.Lock()
			m.reason = msg.Data.Reason
			m.mu.Unlock()
		}
		if msg.Event == "" {
			m.replies <- msg
		}
	}
}

func (m *monitor) shutdownReason() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reason
}

// handshake waits for QEMU's greeting and enters command mode.
func (m *monitor) handshake() error {
	if msg, ok := <-m.replies; !ok || msg.Greeting == nil {
		return fmt.Errorf("no greeting from QEMU's monitor")
	}
	return m.command("qmp_capabilities", nil, nil)
}

// command blocks until QEMU has answered or is gone.
func (m *monitor) command(name string, args any, result any) error {
	m.turn.Lock()
	defer m.turn.Unlock()
	req := struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{name, args}
	if err := json.NewEncoder(m.conn).Encode(req); err != nil {
		return fmt.Errorf("monitor: %s: %w", name, err)
	}
	msg, ok := <-m.replies
	switch {
	case !ok:
		return fmt.Errorf("monitor: %s: QEMU is gone", name)
	case msg.Error != nil:
		return fmt.Errorf("monitor: %s: %s", name, msg.Error.Desc)
	case result != nil:
		return json.Unmarshal(msg.Return, result)
	}
	return nil
}

var forwardLine = regexp.MustCompile(`(?m)^\s*(TCP|UDP)\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+(\S+)\s+(\d+)`)

// forwards asks the user-mode network which host ports it was given. The keys
// are Forward.String with the guest's address and, for the first guest of an
// address-less forward, without.
func (m *monitor) forwards() (map[string]int, error) {
	text, err := m.human("info usernet")
	if err != nil {
		return nil, err
	}
	return parseUsernet(text), nil
}

// human executes a line of the monitor for people.
func (m *monitor) human(line string) (text string, err error) {
	err = m.command("human-monitor-command", map[string]string{"command-line": line}, &text)
	return text, err
}

func parseUsernet(text string) map[string]int {
	out := map[string]int{}
	for _, f := range forwardLine.FindAllStringSubmatch(text, -1) {
		proto := map[string]string{"TCP": "tcp", "UDP": "udp"}[f[1]]
		host, err := strconv.Atoi(f[2])
		guest, err2 := strconv.Atoi(f[4])
		if err != nil || err2 != nil {
			continue
		}
		out[Forward{proto, guest, f[3]}.String()] = host
		if short := (Forward{Proto: proto, Port: guest}).String(); out[short] == 0 {
			out[short] = host
		}
	}
	return out
}
