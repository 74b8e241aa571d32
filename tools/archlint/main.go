// Command archlint checks what the compiler does not: that imports follow the
// direction of ARCHITECTURE.md, that package unsafe stays in files marked
// *_unsafe.go, that there are no init functions, and that libos/format is given
// verbs that it has. It warns of files and
// functions that have grown too long.
//
// It reads sources only, with every build tag, so that code for the appliance
// and for the host are checked alike.
package main

import (
	"flag"
	"fmt"
	"os"

	"ampoule/tools/workspace"
)

func main() {
	root := flag.String("root", "", "top of the tree (default: the folder of go.work)")
	overlay := flag.String("overlay", "", "only write this `file` for go vet -overlay, which then checks libos/format's arguments")
	flag.Parse()
	os.Exit(run(*root, *overlay))
}

func run(root, overlay string) int {
	var err error
	if root == "" {
		if root, err = workspace.Root(); err != nil {
			fmt.Fprintln(os.Stderr, "archlint:", err)
			return 2
		}
	}
	if overlay != "" {
		if err := writeOverlay(root, overlay, nil); err != nil {
			fmt.Fprintln(os.Stderr, "archlint:", err)
			return 2
		}
		return 0
	}
	l := &linter{root: root}
	if err := l.run(); err != nil {
		fmt.Fprintln(os.Stderr, "archlint:", err)
		return 2
	}
	failed := 0
	for _, f := range l.found {
		fmt.Println(f)
		if !f.warning {
			failed++
		}
	}
	fmt.Printf("archlint: %d files, %d violations, %d warnings\n", l.files, failed, len(l.found)-failed)
	if failed > 0 {
		return 1
	}
	return 0
}
