package cli

import (
	"bytes"
	"time"

	"ampoule/tools/ampctl/keys"

	"github.com/spf13/cobra"
)

// issueFlags are those of issue.
type issueFlags struct {
	dir, file, role string
	hosts           []string
	days            int
}

func (f *issueFlags) add(c *cobra.Command) {
	v := c.Flags()
	v.StringVar(&f.dir, "dir", ".", "`folder` with ca.pem and ca.key, and for what is made")
	v.StringVar(&f.file, "file", "", "`name` of the files, without .pem (default NAME)")
	v.IntVar(&f.days, "days", 365, "`days` that it is good for")
	c.Args, c.ValidArgsFunction = cobra.ExactArgs(1), cobra.NoFileCompletions
}

func (a *app) issueCommand() *cobra.Command {
	return group("issue", "make one more certificate with the authority of init", a.issueClientCommand(), a.issueServerCommand())
}

func (a *app) issueClientCommand() *cobra.Command {
	var f issueFlags
	c := &cobra.Command{Use: "client NAME", Short: "a management client: NAME.pem and NAME.key"}
	f.add(c)
	c.Flags().StringVar(&f.role, "role", "", "`role`: read (look) or operate (look and change)")
	_ = c.RegisterFlagCompletionFunc("role", oneOf("read", "operate"))
	c.RunE = func(_ *cobra.Command, args []string) error {
		role := keys.Role(f.role)
		if role != keys.Read && role != keys.Operate {
			return usage("--role must be read or operate")
		}
		return a.issue(args[0], f, false, func(ca *keys.Pair, file string) ([]keys.File, error) {
			return clientFiles(ca, args[0], file, role, a.Now(), f.days)
		})
	}
	return c
}

func (a *app) issueServerCommand() *cobra.Command {
	var f issueFlags
	c := &cobra.Command{Use: "server NAME", Short: "an appliance's management plane: NAME.pem, chain and key"}
	f.add(c)
	c.Flags().StringSliceVar(&f.hosts, "host", nil, "`name or address` that it is reached at; may be repeated")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if len(f.hosts) == 0 {
			return usage("at what names or addresses is the management plane reached? --host says it")
		}
		return a.issue(args[0], f, true, func(ca *keys.Pair, file string) ([]keys.File, error) {
			one, err := serverFile(ca, args[0], file, f.hosts, a.Now(), f.days)
			return []keys.File{one}, err
		})
	}
	return c
}

// issue writes what made makes with the authority. That of a server can be in an
// image: then the lines for its configuration are printed.
func (a *app) issue(name string, f issueFlags, server bool, made func(ca *keys.Pair, file string) ([]keys.File, error)) error {
	if f.file == "" {
		f.file = name
	}
	for _, n := range []string{name, f.file} {
		if err := validFile(n); err != nil {
			return err
		}
	}
	if f.days < 1 {
		return usage("--days must be at least 1")
	}
	ca, err := authority(f.dir)
	if err != nil {
		return err
	}
	files, err := made(ca, f.file)
	if err != nil {
		return err
	}
	if err := keys.Write(f.dir, files); err != nil {
		return local(err)
	}
	lines := ""
	if server {
		lines = configuration(f.dir, f.file, false)
	}
	return a.told(f.dir, files, lines)
}

// clientFiles makes the certificate and the key of a client.
func clientFiles(ca *keys.Pair, name, file string, role keys.Role, now time.Time, days int) ([]keys.File, error) {
	pair, err := ca.Client(name, role, now, days)
	if err != nil {
		return nil, local(err)
	}
	private, err := pair.Private()
	if err != nil {
		return nil, local(err)
	}
	return []keys.File{{Name: file + ".pem", Data: pair.Certificate(), Mode: keys.Public}, {Name: file + ".key", Data: private, Mode: keys.Secret}}, nil
}

// serverFile makes the certificate of a plane, with its chain and key in one file, as
// configurations and rotate take it.
func serverFile(ca *keys.Pair, name, file string, hosts []string, now time.Time, days int) (keys.File, error) {
	pair, err := ca.Server(name, hosts, now, days)
	if err != nil {
		return keys.File{}, local(err)
	}
	private, err := pair.Private()
	if err != nil {
		return keys.File{}, local(err)
	}
	return keys.File{Name: file + ".pem", Data: bytes.Join([][]byte{pair.Certificate(), ca.Certificate(), private}, nil), Mode: keys.Secret}, nil
}
