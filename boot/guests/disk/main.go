//go:build ampoule

// Command disk is the guest that keeps a store on its disk. It says what it
// found there, and makes the next generation. On the kernel command line,
// load=commit has it go on making more until it is stopped, and load=none none;
// end=NAME has it die in the way of that name, after some if it makes any, and
// once=1 only if no earlier run has crashed. With owner=NAME and store-key=HEX it
// opens an appliance's store.
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"ampoule/boot/guests/bare"
	"ampoule/boot/platform"
	"ampoule/libos/device"
	"ampoule/libos/store"
)

func main() {
	m, err := platform.Open()
	check(err)
	disk, err := platform.Disk(context.Background(), m)
	check(err)
	if disk == nil {
		fmt.Println("no disk")
		return
	}
	fmt.Printf("disk %+v\n", disk.Info())
	s, err := store.Open(config(disk))
	check(err)
	last, err := s.KeepCrash("disk guest")
	if err != nil {
		fmt.Println("crash records:", err)
	}
	if last != nil {
		fmt.Printf("crash at %s of %s\n", last.Time.Format(time.RFC3339), last.Build)
		for l := range strings.Lines(string(last.Text)) {
			fmt.Println("| " + strings.TrimSuffix(l, "\n"))
		}
	}
	st := s.Status()
	fmt.Printf("found %d\n", st.Generation)
	if st.Notice != "" {
		fmt.Println("notice:", st.Notice)
	}
	if st.Generation > 0 && bare.Option("owner") == "" {
		consistent(s, st.Generation)
	}
	end := ends[bare.Option("end")]
	if last != nil && bare.Option("once") != "" {
		end = nil
	}
	switch {
	case bare.Option("load") != "none":
		commits(s, st, end)
	case end != nil:
		end(secret, secretCode)
	}
	// Until the host takes the power away. A wait for ever would be a deadlock:
	// there is no network card that could end it.
	for {
		time.Sleep(time.Hour)
	}
}

// config is that of the store: our own, or an appliance's.
func config(disk device.Block) store.Config {
	c := store.Config{Disk: disk, Owner: "disk guest", Key: bytes.Repeat([]byte{5}, store.KeySize)}
	if owner := bare.Option("owner"); owner != "" {
		key, err := hex.DecodeString(bare.Option("store-key"))
		check(err)
		c.Owner, c.Key = owner, key
	}
	return c
}

// commits makes the next generation, or one after the other, and dies amid the fourth
// if there is an end.
func commits(s *store.Store, st store.Status, end func([]byte, int)) {
	for gen := st.Generation; ; {
		next := content(gen + 1)
		if st.Notice != "" && gen == st.Generation {
			next = content(gen + 2) // the number of the commit that was cut is spent
		}
		var err error
		gen, err = s.Commit(gen, next)
		check(err)
		fmt.Printf("stored %d\n", gen)
		if end != nil && gen == st.Generation+3 {
			go func() {
				time.Sleep(7 * time.Millisecond) // amid commits
				end(secret, secretCode)
			}()
			if bare.Option("end") == "deadlock" {
				select {}
			}
		}
		if bare.Option("load") != "commit" {
			return
		}
		st.Notice = ""
	}
}

// Variables that the compiler knows nothing about.
var (
	null *int
	hold [][]byte
)

// What the ends have as arguments, and no record may show.
var secret = []byte("-----BEGIN PRIVATE KEY-----")

const secretCode = 0x5ec2e7

// ends are ways to die. Their arguments are not to be found in what is left.
var ends = map[string]func(secret []byte, code int){
	"panic":    func(secret []byte, code int) { panic("on purpose") },
	"nil":      func(secret []byte, code int) { *null = code },
	"fatal":    func(secret []byte, code int) { new(sync.Mutex).Unlock() },
	"stack":    func(secret []byte, code int) { println(recurse(code, secret)) },
	"memory":   func(secret []byte, code int) { hold = append(hold, make([]byte, 1<<30)) },
	"wild":     func(secret []byte, code int) { bare.Store(0xdead000, 1) },
	"deadlock": func(secret []byte, code int) {},
	"long":     func(secret []byte, code int) { panic(strings.Repeat("long ", 2000)) },
	"exit":     func(secret []byte, code int) { os.Exit(1) },
}

//go:noinline
func recurse(n int, secret []byte) int {
	var pad [16]int
	pad[n&15] = n
	//lint:ignore SA5007 the stack must overflow
	return recurse(n+1, secret) + pad[(n+1)&15]
}

// content is that of a generation: the two values say so, and fill some sectors.
func content(gen uint64) []store.Change {
	text := []byte(fmt.Sprint("generation ", gen, ";"))
	return []store.Change{
		{Name: "public", Value: bytes.Repeat(text, 2000)},
		{Name: "private", Value: bytes.Repeat(text, 300), Private: true},
	}
}

// consistent: what was found is one generation.
func consistent(s *store.Store, gen uint64) {
	for _, c := range content(gen) {
		if v, ok := s.Get(c.Name); !ok || !bytes.Equal(v, c.Value) {
			fmt.Printf("%s is not of generation %d: %.60q\n", c.Name, gen, v)
			os.Exit(1)
		}
	}
	fmt.Println("consistent")
}

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}
