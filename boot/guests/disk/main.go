//go:build ampoule

// Command disk is the guest that keeps a store on its disk. It says what it
// found there, and makes the next generation; with load=commit on the kernel
// command line it goes on making more until it is stopped, and with end=NAME it
// dies in the way of that name after some.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"ampoule/boot/guests/bare"
	"ampoule/boot/platform"
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
	s, err := store.Open(store.Config{Disk: disk, Owner: "disk guest", Key: bytes.Repeat([]byte{5}, store.KeySize)})
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
	if st.Generation > 0 {
		consistent(s, st.Generation)
	}
	for gen := st.Generation; ; {
		next := content(gen + 1)
		if st.Notice != "" && gen == st.Generation {
			next = content(gen + 2) // the number of the commit that was cut is spent
		}
		if gen, err = s.Commit(gen, next); err != nil {
			check(err)
		}
		fmt.Printf("stored %d\n", gen)
		if end := ends[bare.Option("end")]; end != nil && gen == st.Generation+3 {
			go func() {
				time.Sleep(7 * time.Millisecond) // amid commits
				end([]byte("-----BEGIN PRIVATE KEY-----"), 0x5ec2e7)
			}()
			if bare.Option("end") == "deadlock" {
				select {}
			}
		}
		if bare.Option("load") != "commit" {
			break
		}
		st.Notice = ""
	}
	// Until the host takes the power away. A wait for ever would be a deadlock:
	// there is no network card that could end it.
	for {
		time.Sleep(time.Hour)
	}
}

// Variables that the compiler knows nothing about.
var (
	null *int
	hold [][]byte
)

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
