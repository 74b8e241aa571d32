package client

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Status is what GET /v1/status answers.
type Status struct {
	Appliance       string    `json:"appliance"`
	Hostname        string    `json:"hostname"`
	Platform        string    `json:"platform"`
	Build           string    `json:"build"`
	Configuration   string    `json:"configuration"`
	Go              string    `json:"go"`
	Generation      uint64    `json:"generation"`
	GenerationSince time.Time `json:"generation_since"`
	Persisted       bool      `json:"persisted"`
	Notice          string    `json:"notice"`
	Ready           bool      `json:"ready"`
	Missing         string    `json:"missing"`
	Now             time.Time `json:"now"`
	UptimeSeconds   uint64    `json:"uptime_seconds"`
	Memory          struct {
		RAM    uint64 `json:"ram"`
		Heap   uint64 `json:"heap"`
		System uint64 `json:"system"`
	} `json:"memory"`
	You  string `json:"you"`
	Role string `json:"role"`

	Raw json.RawMessage `json:"-"` // as it came
}

// Certificate is one certificate as the plane describes it.
type Certificate struct {
	Slot          string    `json:"slot"`
	Subject       string    `json:"subject"`
	Issuer        string    `json:"issuer"`
	Serial        string    `json:"serial"`
	SHA256        string    `json:"sha256"`
	Key           string    `json:"key"`
	NotBefore     time.Time `json:"not_before"`
	NotAfter      time.Time `json:"not_after"`
	ChainNotAfter time.Time `json:"chain_not_after"` // of the first of the chain to end
	Chain         int       `json:"chain"`
	Hosts         []string  `json:"hosts"`
}

// Authority is a bundle of authorities.
type Authority struct {
	Slot         string        `json:"slot"`
	Certificates []Certificate `json:"certificates"`
}

// Generation is what GET /v1/certificates, commit and rollback answer.
type Generation struct {
	Number       uint64        `json:"generation"`
	Since        time.Time     `json:"since"`
	Who          string        `json:"who"`
	Persisted    bool          `json:"persisted"`
	Previous     bool          `json:"previous"` // there is one to go back to
	Certificates []Certificate `json:"certificates"`
	Authorities  []Authority   `json:"authorities"`
	Revoked      []string      `json:"revoked"`

	Raw json.RawMessage `json:"-"`
}

// Staged is the transaction that is under way.
type Staged struct {
	Generation uint64    `json:"generation"` // in force
	Who        string    `json:"who"`        // empty: nobody
	Until      time.Time `json:"until"`
	Staged     []Entry   `json:"staged"`

	Raw json.RawMessage `json:"-"`
}

// Entry is one value that is staged, without its content.
type Entry struct {
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
	Remove bool   `json:"remove"`
}

// Kind says what a value is; it is a segment of the path.
type Kind string

// Kinds of values.
const (
	Certificates Kind = "certificates" // chain and key, by slot
	Authorities  Kind = "authorities"  // by slot
	Revoked      Kind = "revoked"      // a client, by the SHA-256 of its certificate
	Staples      Kind = "staples"      // OCSP response, by the slot of its certificate
	CRLs         Kind = "crls"         // revocation lists, by the slot of their authorities
)

// Change is a value to be staged. Data may be a private key: nothing prints it.
type Change struct {
	Entry
	Data []byte `json:"-"`
}

// String names the change. It leaves the content out.
func (c Change) String() string {
	s := string(c.Kind) + "/" + c.Name
	if c.Remove {
		s += " to go"
	}
	return s
}

// Format is String whatever the verb, so that no form of printing shows the content.
func (c Change) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }
