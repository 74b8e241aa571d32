//go:build ampoule

package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
)

var panicChecks = []check{
	{"panics", panics},
	{"panics-in-handlers", handlerPanics},
	{"panic-nesting", nesting},
}

// Variables that the compiler knows nothing about.
var (
	zero    int
	nilNode *node
	nilFunc func()
	nilMap  map[string]int
	few     = []int{1, 2, 3}
	object  any
	float   any = 1.5
)

type node struct {
	pad  [100]byte
	next *node
	_    [1 << 16]byte // beyond what the null page covers
	last int
}

func (n *node) size() int { return len(n.pad) + n.last }

type oops struct{ code int }

func (o oops) Error() string { return fmt.Sprint("oops ", o.code) }

type kind struct {
	name string
	do   func()
	want string // of the message
	err  bool   // it is a runtime.Error
}

// kinds is every panic that a program can recover from.
var kinds = []kind{
	{"nil load", func() { zero += int(nilNode.pad[3]) }, "nil pointer dereference", true},
	{"nil store", func() { nilNode.next = nilNode }, "nil pointer dereference", true},
	{"nil far field", func() { nilNode.last = 1 }, "nil pointer dereference", true},
	{"nil method", func() { zero += nilNode.size() }, "nil pointer dereference", true},
	{"nil func", func() { nilFunc() }, "nil pointer dereference", true},
	{"nil interface", func() { zero += len(object.(fmt.Stringer).String()) }, "interface conversion", true},
	{"index", func() { few[zero+3]++ }, "index out of range [3] with length 3", true},
	{"negative index", func() { few[zero-1]++ }, "index out of range [-1]", true},
	{"slice", func() { few = few[zero+2 : zero+1] }, "slice bounds out of range [2:1]", true},
	{"string index", func() { zero += int("abc"[zero+5]) }, "index out of range [5]", true},
	{"array conversion", func() { _ = [4]int(few) }, "cannot convert slice", true},
	{"divide", func() { few[0] = 7 / zero }, "integer divide by zero", true},
	{"modulo", func() { few[0] = 7 % zero }, "integer divide by zero", true},
	{"shift", func() { few[0] = 7 << (zero - 1) }, "negative shift amount", true},
	{"nil map", func() { nilMap["a"] = 1 }, "assignment to entry in nil map", true},
	{"unhashable", func() { _ = map[any]int{any(few): 1} }, "hash of unhashable type", true},
	{"compare", func() { zero += len(fmt.Sprint(any(few) == any(few))) }, "comparing uncomparable type", true},
	{"assertion", func() { zero += float.(int) }, "interface conversion: interface {} is float64, not int", true},
	{"close twice", func() { c := make(chan int); close(c); close(c) }, "close of closed channel", true},
	{"close nil", func() { var c chan int; close(c) }, "close of nil channel", true},
	{"send closed", func() { c := make(chan int, 1); close(c); c <- 1 }, "send on closed channel", true},
	{"make", func() { few = make([]int, zero-1) }, "makeslice: len out of range", true},
	{"nil panic", func() { panic(nil) }, "panic called with nil argument", true},
	{"custom", func() { panic(oops{7}) }, "oops 7", false},
	{"string", func() { panic("just text") }, "just text", false},
	{"wait group", func() { new(sync.WaitGroup).Done() }, "negative WaitGroup counter", false},
}

// recovered runs f and says how its panic differs from what is wanted, or "".
func (k *kind) recovered() (wrong string) {
	defer func() {
		e := recover()
		_, isErr := e.(runtime.Error)
		switch {
		case e == nil:
			wrong = k.name + ": no panic"
		case !strings.Contains(fmt.Sprint(e), k.want):
			wrong = fmt.Sprintf("%s: %v, want %q", k.name, e, k.want)
		case isErr != k.err:
			wrong = fmt.Sprintf("%s: %T", k.name, e)
		}
	}()
	k.do()
	return
}

func panics(r *report) {
	for i := range kinds {
		for range 3 { // again, to see that nothing is left behind
			if wrong := kinds[i].recovered(); wrong != "" {
				r.errorf("%s", wrong)
			}
		}
	}
	var o oops
	err := func() (err error) {
		defer func() { err = recover().(error) }()
		panic(fmt.Errorf("wrapped: %w", oops{9}))
	}()
	if !errors.As(err, &o) || o.code != 9 {
		r.errorf("custom error came back as %v", err)
	}
	if zero != 0 || len(few) != 3 {
		r.errorf("a faulting statement took effect: %d, %v", zero, few)
	}
	r.notef("%d kinds", len(kinds))
}

// serve is what net/http does: a goroutine for each connection, which survives
// its handler's panic and tells the client.
func serve(conns <-chan net.Conn) {
	for c := range conns {
		go func() {
			defer c.Close()
			in := bufio.NewScanner(c)
			for in.Scan() {
				fmt.Fprintln(c, handle(in.Text()))
			}
		}()
	}
}

func handle(request string) (answer string) {
	defer func() {
		if e := recover(); e != nil {
			answer = fmt.Sprint("500 ", e)
		}
	}()
	for i := range kinds {
		if kinds[i].name == request {
			kinds[i].do()
			return "200 " + request
		}
	}
	return "404 " + request
}

// handlerPanics has many clients at once make a server's handlers panic.
func handlerPanics(r *report) {
	conns := make(chan net.Conn)
	go serve(conns)
	defer close(conns)
	var wg sync.WaitGroup
	var mu sync.Mutex
	answers := 0
	for range 20 {
		wg.Go(func() {
			client, server := net.Pipe()
			conns <- server
			defer client.Close()
			in := bufio.NewScanner(client)
			for i := range kinds {
				fmt.Fprintln(client, kinds[i].name)
				if !in.Scan() {
					break
				}
				mu.Lock()
				if a := in.Text(); !strings.HasPrefix(a, "500 ") || !strings.Contains(a, kinds[i].want) {
					r.errorf("%s: answer %q", kinds[i].name, a)
				}
				answers++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if want := 20 * len(kinds); answers != want {
		r.errorf("%d answers, want %d", answers, want)
	}
}

// nesting: faults while a panic is being handled, and order of deferred calls.
func nesting(r *report) {
	var order []string
	err := func() (err any) {
		defer func() { err = recover() }()
		defer func() { order = append(order, "outer") }()
		defer func() {
			defer func() { order = append(order, fmt.Sprint(recover())) }()
			few[zero+9]++ // while "first" is on its way
		}()
		panic("first")
	}()
	if err != "first" || len(order) != 2 || !strings.Contains(order[0], "out of range [9]") || order[1] != "outer" {
		r.errorf("recovered %v, order %q", err, order)
	}
	again := func() (err any) {
		defer func() { err = recover() }()
		defer func() {
			recover()
			zero /= zero
		}()
		panic("replaced")
	}()
	if e, ok := again.(runtime.Error); !ok || !strings.Contains(e.Error(), "divide") {
		r.errorf("a fault in a deferred call gave %v", again)
	}
}
