// Package cli is the command line of ampctl.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"ampoule/tools/ampctl/client"

	"github.com/spf13/cobra"
)

// IO is what the command has of the world.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
	Terminal bool // Err is one: progress is shown
	Getenv   func(string) string
	Now      func() time.Time
	// Wrap is for tests: see client.Config; with the appliance's name. nil: nothing.
	Wrap func(name string, under http.RoundTripper) http.RoundTripper
}

// app is one run of the command.
type app struct {
	IO
	out *checked

	fleet, address, ca, cert, key, serverName, output string
	names, pins                                       []string
	all                                               bool
	timeout                                           time.Duration
}

// checked is the output, which may fail: a full disk, say.
type checked struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (c *checked) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if c.err == nil {
		c.err = err
	}
	return n, err
}

// Main runs a command line and returns the exit code.
func Main(ctx context.Context, args []string, world IO) int {
	a := &app{IO: world, out: &checked{w: world.Out}}
	for _, arg := range args {
		if strings.Contains(arg, "-----BEGIN") {
			return a.end(usage("there is PEM on the command line, where every process can see it: give the name of a file, or - for the standard input. If it was a private key, replace it."))
		}
	}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(world.In)
	root.SetOut(a.out)
	root.SetErr(world.Err)
	err := root.ExecuteContext(ctx)
	if err == nil && a.out.err != nil {
		err = &client.Error{Class: client.Local, Code: "output", Sentence: a.out.err.Error()}
	}
	return a.end(err)
}

// ended is an error that was told already.
type ended client.Class

func (e ended) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// end tells what went wrong and returns the exit code.
func (a *app) end(err error) int {
	var told ended
	var e *client.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &told):
		return int(told)
	case errors.As(err, &e):
	default: // of the library: it does not know the command, or what it was given
		e = usage("%v", err)
	}
	text := e.Sentence
	if e.Class != client.Usage {
		text = e.Error()
	}
	fmt.Fprintf(a.Err, "ampctl: %s\n", clean(text))
	if a.output == "json" {
		a.json(map[string]any{"error": e})
	}
	return int(e.Class)
}

// json writes one line of JSON.
func (a *app) json(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte(`{"error":{"code":"output"}}`)
	}
	a.out.Write(append(b, '\n'))
}

// usage is an error of the command line, or of a file that it names.
func usage(text string, args ...any) *client.Error {
	return &client.Error{Class: client.Usage, Code: "usage", Sentence: fmt.Sprintf(text, args...)}
}

// local is an error of this machine.
func local(err error) *client.Error {
	return &client.Error{Class: client.Local, Code: "local", Sentence: err.Error()}
}

const about = `ampctl operates appliances over their management plane: TLS with client
certificates. It finds them in a fleet file (-c, $AMPCTL_FLEET, or
~/.config/ampctl/fleet.toml), or at --address.`

const exitCodes = `0  done
1  something on this machine: a file, an interrupt
2  the command line, or the fleet file
3  no connection: refused, no answer in time, no such host, broken
4  not trusted: the appliance's certificate, or yours, is not accepted
5  not allowed: your certificate is revoked, or your role is not enough
6  refused: a bundle or parameter is not fit; nothing has changed
7  conflict: another transaction, or another generation than the one named
8  the appliance could not, or is not ready
9  a change is in force on some appliances and not on others, or that is not known

With several appliances it is the largest of their codes. With -o json each appliance
is one line: {"appliance":"ns1","result":...}, or with "error" in the place of result,
which has exit, code (stable) and error (a sentence).
`

// root makes the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "ampctl", Short: "operate appliances over their management plane", Long: about,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != "text" && a.output != "json" {
				return usage("-o %s: must be text or json", a.output)
			}
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVarP(&a.fleet, "fleet", "c", "", "fleet `file` with names, addresses and credentials")
	f.StringSliceVarP(&a.names, "appliance", "a", nil, "`name` in the fleet file; may be repeated, have commas, and * for any letters")
	f.BoolVar(&a.all, "all", false, "all appliances of the fleet file")
	f.StringVar(&a.address, "address", "", "`host:port` of an appliance that is in no fleet file")
	f.StringVar(&a.ca, "ca", "", "`file` with the CA of the appliances' own certificates")
	f.StringVar(&a.cert, "cert", "", "`file` with your certificate")
	f.StringVar(&a.key, "key", "", "`file` with your private key, if it is not beside the certificate")
	f.StringVar(&a.serverName, "server-name", "", "`name` that the appliance's certificate must have")
	f.StringSliceVar(&a.pins, "sha256", nil, "SHA-256 of a certificate that is accepted as the appliance's, CA or not (`hex`)")
	f.DurationVar(&a.timeout, "timeout", 0, "`time` for each request (default 10s)")
	f.StringVarP(&a.output, "output", "o", "text", "`form` of the output: text or json")
	root.AddCommand(a.initCommand(), a.issueCommand(), a.statusCommand(), a.healthCommand(), a.certsCommand(), a.rotateCommand(),
		a.clientsCommand(), a.logsCommand(), a.levelCommand(), a.metricsCommand(), a.captureCommand(), a.profileCommand(), a.crashCommand(),
		&cobra.Command{Use: "exit-codes", Short: "what the exit codes mean", Long: exitCodes})
	_ = root.RegisterFlagCompletionFunc("appliance", a.completeNames)
	_ = root.RegisterFlagCompletionFunc("output", oneOf("text", "json"))
	return root
}

// oneOf completes words.
func oneOf(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// group is a command that only has others.
func group(use, short string, all ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return usage("%s what? ampctl %s -h lists it", c.Name(), c.Name())
		}}
	c.AddCommand(all...)
	return c
}
