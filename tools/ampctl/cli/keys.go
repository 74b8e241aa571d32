package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ampoule/tools/ampctl/client"
	"ampoule/tools/ampctl/fleet"
	"ampoule/tools/ampctl/keys"

	"github.com/spf13/cobra"
)

const initLong = `Make what a management plane and its first clients need, in a new folder or one that
has none of these files: an authority, certificates of an operator and a reader, one of
the appliance's plane, and a fleet file for -c. What is printed belongs into the
configuration of the image.

Keys are P-256, in files that only you can read. Whoever has ca.key can make operators:
keep it off the machines that do not need it. With the server's key in the image whoever
has the image can pose as the appliance; --key-at-boot leaves it out: then the plane
makes one at each boot, and you compare the SHA-256 in its log once.`

// initFlags are those of init.
type initFlags struct {
	name, operator, reader, address string
	hosts                           []string
	days, caDays                    int
	atBoot                          bool
}

func (a *app) initCommand() *cobra.Command {
	var f initFlags
	c := &cobra.Command{Use: "init FOLDER", Short: "make keys, certificates and a fleet file for a first set-up", Long: initLong, Args: cobra.ExactArgs(1),
		Example: "  ampctl init keys --name ns1 --host ns1.example.org --host 192.0.2.53",
		RunE:    func(_ *cobra.Command, args []string) error { return a.init(args[0], f) }}
	v := c.Flags()
	v.StringVar(&f.name, "name", "ns1", "`name` of the appliance in the fleet file")
	v.StringSliceVar(&f.hosts, "host", nil, "`name or address` that its plane is reached at; may be repeated")
	v.StringVar(&f.address, "at", "", "`host:port` for the fleet file (default the last host, port 9443)")
	v.StringVar(&f.operator, "operator", "operator", "`name` of the client that may change things")
	v.StringVar(&f.reader, "reader", "reader", "`name` of the client that may look")
	v.IntVar(&f.days, "days", 365, "`days` that certificates are good for")
	v.IntVar(&f.caDays, "ca-days", 3650, "`days` that the authority is good for")
	v.BoolVar(&f.atBoot, "key-at-boot", false, "no certificate of the plane in the image")
	return c
}

// init makes the files of a first set-up.
func (a *app) init(dir string, f initFlags) error {
	if len(f.hosts) == 0 {
		return usage("at what names or addresses is the management plane reached? --host says it")
	}
	if f.days < 1 || f.caDays < f.days {
		return usage("--days must be at least 1, and --ca-days not less")
	}
	if f.address == "" {
		f.address = f.hosts[len(f.hosts)-1]
	}
	for _, name := range []string{f.name, f.operator, f.reader} {
		if err := validFile(name); err != nil {
			return err
		}
	}
	if f.name == f.operator || f.name == f.reader || f.operator == f.reader {
		return usage("--name, --operator and --reader must be different: each is the name of a file")
	}
	if _, err := fleet.Make(f.name, fleet.Entry{Address: f.address}, fleet.Settings{}, ""); err != nil {
		return usage("--at: %v", err)
	}
	files, err := a.firstFiles(f)
	if err != nil {
		return err
	}
	if err := keys.Write(dir, files); err != nil {
		return local(err)
	}
	return a.told(dir, files, configuration(dir, f.name, f.atBoot))
}

// firstFiles makes what init writes.
func (a *app) firstFiles(f initFlags) ([]keys.File, error) {
	now := a.Now()
	ca, err := keys.Authority("management of "+f.name, now, f.caDays)
	if err != nil {
		return nil, local(err)
	}
	private, err := ca.Private()
	if err != nil {
		return nil, local(err)
	}
	files := []keys.File{{Name: "ca.pem", Data: ca.Certificate(), Mode: keys.Public}, {Name: "ca.key", Data: private, Mode: keys.Secret}}
	for name, role := range map[string]keys.Role{f.operator: keys.Operate, f.reader: keys.Read} {
		more, err := clientFiles(ca, name, name, role, now, f.days)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	server, err := serverFile(ca, f.name, f.name, f.hosts, now, f.days)
	if err != nil {
		return nil, err
	}
	return append(files, server, keys.File{Name: "fleet.toml", Data: fleetText(f), Mode: keys.Public}), nil
}

// fleetText is a first fleet file.
func fleetText(f initFlags) []byte {
	text := fmt.Sprintf("ca = \"ca.pem\"\ncert = %q\nkey = %q\n\n[appliances.%s]\naddress = %q\nserver_name = %q\n",
		f.operator+".pem", f.operator+".key", quoteKey(f.name), f.address, f.hosts[0])
	if f.atBoot {
		text += "# The certificate that was made at boot; the log has its SHA-256 (\"management ... sha256=\").\n# sha256 = [\"\"]\n"
	}
	return []byte(text)
}

// quoteKey is a key of TOML.
func quoteKey(s string) string {
	if strings.Contains(s, ".") {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// configuration are the lines for the image's configuration.
func configuration(dir, file string, atBoot bool) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	text := fmt.Sprintf("[management]\nclient_ca = %q\n", filepath.Join(dir, "ca.pem"))
	if !atBoot {
		text += fmt.Sprintf("certificate = %q\nkey_in_image = true\n", filepath.Join(dir, file+".pem"))
	}
	return text
}

// told says what was made.
func (a *app) told(dir string, files []keys.File, configuration string) error {
	var names []string
	for _, f := range files {
		names = append(names, filepath.Join(dir, f.Name))
	}
	if a.output == "json" {
		a.json(map[string]any{"files": names, "configuration": configuration})
		return nil
	}
	fmt.Fprintf(a.Err, "made %s\n", strings.Join(names, ", "))
	if configuration != "" {
		fmt.Fprint(a.Err, "for the configuration of the image:\n\n")
		fmt.Fprint(a.out, configuration)
	}
	return nil
}

// validFile refuses names that are no plain names of files.
func validFile(name string) error {
	if name == "" || name == "ca" || strings.HasPrefix(name, ".") || len(name) > 64 ||
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "" {
		return usage("%q: a name has 1 to 64 letters, digits, dots, hyphens and underscores, and is not ca", name)
	}
	return nil
}

// authority reads the one in a folder.
func authority(dir string) (*keys.Pair, error) {
	certificate, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, local(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, local(err)
	}
	ca, err := keys.Parse(certificate, key)
	if err != nil {
		return nil, &client.Error{Class: client.Local, Code: "authority", Sentence: dir + ": " + err.Error()}
	}
	return ca, nil
}
