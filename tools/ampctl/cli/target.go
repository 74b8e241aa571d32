package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"ampoule/tools/ampctl/client"
	"ampoule/tools/ampctl/fleet"

	"github.com/spf13/cobra"
)

// target is an appliance that a command is for.
type target struct {
	name string
	*client.Client
}

// fleetFile is the fleet file, and whether somebody named it.
func (a *app) fleetFile() (name string, named bool) {
	if a.fleet != "" {
		return a.fleet, true
	}
	if name = a.Getenv("AMPCTL_FLEET"); name != "" {
		return name, true
	}
	dir := a.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		dir = filepath.Join(a.Getenv("HOME"), ".config")
	}
	return filepath.Join(dir, "ampctl", "fleet.toml"), false
}

// appliances are those that the command line picks.
func (a *app) appliances() ([]fleet.Appliance, error) {
	if a.all && len(a.names) > 0 || a.address != "" && (a.all || len(a.names) > 0) {
		return nil, usage("--all, -a and --address exclude one another")
	}
	if a.timeout < 0 {
		return nil, usage("--timeout %s: must be more than nothing", a.timeout)
	}
	name, named := a.fleetFile()
	f := &fleet.Fleet{}
	if a.address == "" || named {
		var err error
		f, err = fleet.Read(name)
		if errors.Is(err, fs.ErrNotExist) && !named {
			return nil, usage("there is no fleet file %s; -c names another, --address an appliance, and ampctl init makes one", name)
		}
		if err != nil {
			return nil, usage("%v", err)
		}
	}
	if a.address != "" {
		one, err := fleet.Make(a.address, fleet.Entry{Address: a.address}, f.Base, "")
		if err != nil {
			return nil, usage("--address: %v", err)
		}
		return []fleet.Appliance{*one}, nil
	}
	names := a.names
	if a.all {
		if names = []string{"*"}; len(f.All) == 0 {
			return nil, usage("%s: there are no appliances in it", name)
		}
	}
	picked, err := f.Pick(names)
	if err != nil {
		return nil, usage("%v", err)
	}
	return picked, nil
}

// targets opens the appliances that the command line picks. close closes them.
func (a *app) targets() (all []*target, close func(), err error) {
	picked, err := a.appliances()
	if err != nil {
		return nil, nil, err
	}
	if a.serverName != "" && len(picked) > 1 {
		return nil, nil, usage("--server-name is for one appliance, not for %d", len(picked))
	}
	warned := map[string]bool{}
	for _, p := range picked {
		c, err := a.open(p, warned)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, &target{p.Name, c})
	}
	return all, func() {
		for _, t := range all {
			t.Close()
		}
	}, nil
}

// one opens the only appliance that the command line picks.
func (a *app) one() (*target, func(), error) {
	all, close, err := a.targets()
	if err == nil && len(all) != 1 {
		close()
		return nil, nil, usage("this is for one appliance at a time, not for %d", len(all))
	}
	if err != nil {
		return nil, nil, err
	}
	return all[0], close, nil
}

// open makes the client of an appliance. warned has the files that were complained
// about.
func (a *app) open(p fleet.Appliance, warned map[string]bool) (*client.Client, error) {
	a.override(&p)
	cfg := client.Config{Address: p.Address, ServerName: p.ServerName, Timeout: p.Timeout, Pins: p.Pins}
	for _, text := range a.pins {
		pin, err := fleet.Pin(text)
		if err != nil {
			return nil, usage("--sha256: %v", err)
		}
		cfg.Pins = append(cfg.Pins, pin)
	}
	if p.CA == "" && len(cfg.Pins) == 0 {
		return nil, usage("%s: how is the appliance known? It takes a CA (ca, --ca) or the SHA-256 of its certificate, which its log has (sha256, --sha256)", p.Name)
	}
	if p.CA != "" {
		data, err := os.ReadFile(p.CA)
		if err != nil {
			return nil, usage("%v", err)
		}
		if cfg.Roots = x509.NewCertPool(); !cfg.Roots.AppendCertsFromPEM(data) {
			return nil, usage("%s: there is no certificate in it", p.CA)
		}
	}
	var err error
	if cfg.Certificate, err = a.credentials(p, warned); err != nil {
		return nil, err
	}
	if a.Wrap != nil {
		cfg.Wrap = func(under http.RoundTripper) http.RoundTripper { return a.Wrap(p.Name, under) }
	}
	return client.New(cfg), nil
}

// override has flags take the place of what the file says.
func (a *app) override(p *fleet.Appliance) {
	if a.ca != "" {
		p.CA = a.ca
	}
	if a.cert != "" {
		p.Cert, p.Key = a.cert, ""
	}
	if a.key != "" {
		p.Key = a.key
	}
	if a.serverName != "" {
		p.ServerName = a.serverName
	}
	if a.timeout > 0 {
		p.Timeout = a.timeout
	}
}

// credentials reads the client's certificate and key.
func (a *app) credentials(p fleet.Appliance, warned map[string]bool) (pair tls.Certificate, err error) {
	if p.Cert == "" {
		return pair, usage("%s: who are you? It takes your certificate (cert, --cert)", p.Name)
	}
	if p.Key == "" {
		p.Key = p.Cert
	}
	certificate, err := os.ReadFile(p.Cert)
	if err != nil {
		return pair, usage("%v", err)
	}
	key, err := os.ReadFile(p.Key)
	if err != nil {
		return pair, usage("%v", err)
	}
	if s, err := os.Stat(p.Key); err == nil && s.Mode().Perm()&0o077 != 0 && !warned[p.Key] {
		warned[p.Key] = true
		fmt.Fprintf(a.Err, "ampctl: others can read the private key in %s; chmod 600 mends that\n", p.Key)
	}
	if pair, err = tls.X509KeyPair(certificate, key); err != nil {
		return pair, usage("%s, %s: %v", p.Cert, p.Key, err)
	}
	if now := a.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		return pair, &client.Error{Class: client.Untrusted, Code: "client-expired", Sentence: fmt.Sprintf(
			"Your certificate %s is good from %s to %s; the clock here says %s.", p.Cert, at(pair.Leaf.NotBefore), at(pair.Leaf.NotAfter), at(now))}
	}
	return pair, nil
}

// completeNames completes names of appliances.
func (a *app) completeNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	name, _ := a.fleetFile()
	f, err := fleet.Read(name)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return f.Names(), cobra.ShellCompDirectiveNoFileComp
}
