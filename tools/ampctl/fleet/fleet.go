// Package fleet reads the file that names the appliances of an operator:
//
//	default = "ns1"            # where no name is given
//	ca      = "ca.pem"         # vouches for the appliances; paths are from this file
//	cert    = "alice.pem"      # who you are
//	key     = "alice.key"      # left out: it is in cert
//	timeout = "10s"            # of each request
//
//	[appliances.ns1]
//	address     = "192.0.2.53"       # :9443 if no port is there
//	server_name = "ns1.example.org"  # in its certificate; left out: that of address
//	sha256      = ["35d2..."]        # of certificates that are accepted as they are
//
// ca, cert, key and timeout may stand in an appliance's table too, and then hold for
// it alone.
package fleet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Port is that of a management plane where nothing is said.
const Port = "9443"

// Settings say who the client is and whom it trusts.
type Settings struct {
	CA      string `toml:"ca"`
	Cert    string `toml:"cert"`
	Key     string `toml:"key"`
	Timeout string `toml:"timeout"`
}

// over is s where it says something, else base.
func (s Settings) over(base Settings) Settings {
	out := base
	if s.CA != "" {
		out.CA = s.CA
	}
	if s.Cert != "" {
		out.Cert, out.Key = s.Cert, s.Key // a key belongs to its certificate
	} else if s.Key != "" {
		out.Key = s.Key
	}
	if s.Timeout != "" {
		out.Timeout = s.Timeout
	}
	return out
}

// Entry is a table of the file.
type Entry struct {
	Address    string   `toml:"address"`
	ServerName string   `toml:"server_name"`
	SHA256     []string `toml:"sha256"`
	CA         string   `toml:"ca"`
	Cert       string   `toml:"cert"`
	Key        string   `toml:"key"`
	Timeout    string   `toml:"timeout"`
}

// Settings are those of an entry alone.
func (e Entry) Settings() Settings { return Settings{e.CA, e.Cert, e.Key, e.Timeout} }

// file is the file as it is written.
type file struct {
	Default    string           `toml:"default"`
	CA         string           `toml:"ca"`
	Cert       string           `toml:"cert"`
	Key        string           `toml:"key"`
	Timeout    string           `toml:"timeout"`
	Appliances map[string]Entry `toml:"appliances"`
}

// Appliance is one appliance, with paths that hold in the current folder.
type Appliance struct {
	Name, Address, ServerName string
	Pins                      [][sha256.Size]byte
	CA, Cert, Key             string // files; empty: none
	Timeout                   time.Duration
}

// Fleet is what a file has.
type Fleet struct {
	Default string
	Base    Settings    // with paths that hold in the current folder
	All     []Appliance // by name
}

// timeout holds where nothing is said.
const timeout = 10 * time.Second

// Read reads a file. Errors name it, and where they can the line.
func Read(name string) (*Fleet, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var f file
	d := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("%s:%s", name, reason(err))
	}
	out := &Fleet{Default: f.Default}
	base := Settings{f.CA, f.Cert, f.Key, f.Timeout}
	dir := filepath.Dir(name)
	out.Base = Settings{from(dir, base.CA), from(dir, base.Cert), from(dir, base.Key), base.Timeout}
	for _, n := range slices.Sorted(maps.Keys(f.Appliances)) {
		a, err := Make(n, f.Appliances[n], base, dir)
		if err != nil {
			return nil, fmt.Errorf("%s: appliances.%s: %w", name, n, err)
		}
		for _, o := range out.All {
			if o.Address == a.Address {
				return nil, fmt.Errorf("%s: appliances.%s and appliances.%s have the same address", name, o.Name, n)
			}
		}
		out.All = append(out.All, *a)
	}
	if _, there := f.Appliances[f.Default]; f.Default != "" && !there {
		return nil, fmt.Errorf("%s: default = %q, but there is no [appliances.%s]", name, f.Default, f.Default)
	}
	return out, nil
}

// reason is where and why a file can't be decoded. It quotes keys, not values.
func reason(err error) string {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		e := strict.Errors[0]
		line, _ := e.Position()
		return fmt.Sprintf("%d: %s: there is no such key", line, strings.Join(e.Key(), "."))
	}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		line, _ := decode.Position()
		return fmt.Sprintf("%d: %s", line, strings.TrimPrefix(decode.Error(), "toml: "))
	}
	return " " + err.Error()
}

// Make makes an Appliance; dir is what paths are from.
func Make(name string, e Entry, base Settings, dir string) (*Appliance, error) {
	s := e.Settings().over(base)
	a := &Appliance{Name: name, ServerName: e.ServerName, CA: from(dir, s.CA), Cert: from(dir, s.Cert), Key: from(dir, s.Key), Timeout: timeout}
	host, port, err := net.SplitHostPort(e.Address)
	if err != nil {
		host, port = strings.Trim(e.Address, "[]"), Port
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" || strings.ContainsAny(host, "/@ ") || strings.Contains(host, ":") && net.ParseIP(host) == nil {
		return nil, fmt.Errorf("address = %q, must be a host name or an address, with or without a port", e.Address)
	}
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]") != "" || name == "" {
		return nil, errors.New("a name has letters, digits, dots, hyphens and underscores only")
	}
	a.Address = net.JoinHostPort(host, port)
	if a.ServerName == "" {
		a.ServerName = host
	}
	if s.Timeout != "" {
		if a.Timeout, err = time.ParseDuration(s.Timeout); err != nil || a.Timeout <= 0 {
			return nil, fmt.Errorf("timeout = %q, must be a time such as \"10s\"", s.Timeout)
		}
	}
	for _, text := range e.SHA256 {
		pin, err := Pin(text)
		if err != nil {
			return nil, err
		}
		a.Pins = append(a.Pins, pin)
	}
	return a, nil
}

// Pin reads the SHA-256 of a certificate, with or without colons.
func Pin(text string) (pin [sha256.Size]byte, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || len(b) != len(pin) {
		return pin, errors.New("sha256 must be 64 hexadecimal digits, with or without colons")
	}
	return [sha256.Size]byte(b), nil
}

// from is a path that is meant from a folder.
func from(dir, name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// Pick returns the appliances that patterns name (a * stands for any letters), or
// the only one, or the default, if there are none.
func (f *Fleet) Pick(patterns []string) ([]Appliance, error) {
	if len(patterns) == 0 {
		switch {
		case f.Default != "":
			patterns = []string{f.Default}
		case len(f.All) == 1:
			return f.All, nil
		default:
			return nil, fmt.Errorf("which appliance? -a NAME says it, or --all; there are: %s", strings.Join(f.Names(), ", "))
		}
	}
	picked := map[string]bool{}
	for _, p := range patterns {
		found := false
		for _, a := range f.All {
			if ok, err := path.Match(p, a.Name); err != nil {
				return nil, fmt.Errorf("-a %s: not a pattern", p)
			} else if ok {
				picked[a.Name], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("-a %s: there is no such appliance; there are: %s", p, strings.Join(f.Names(), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(f.All), func(a Appliance) bool { return !picked[a.Name] }), nil
}

// Names are the names of all appliances.
func (f *Fleet) Names() (all []string) {
	for _, a := range f.All {
		all = append(all, a.Name)
	}
	return all
}
