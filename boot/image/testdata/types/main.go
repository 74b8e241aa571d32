// Command types does what the runtime needs type descriptors for, and prints what
// comes of it. It imports nothing that reflects.
package main

import (
	"errors"
	"net/netip"
	"runtime"
	"sort"
	"unique"
)

type speaker interface{ Speak() string }

type walker interface {
	speaker
	Walk(n int) int
}

type dog struct {
	name string
	legs int
}

func (d dog) Speak() string       { return d.name }
func (d *dog) Walk(n int) int     { return d.legs * n }
func (d dog) NobodyCalls() string { return "never called through an interface" }
func (d dog) NorThisOne(x *cat)   { x.livesLeft++ }

type cat struct {
	dog
	livesLeft int
	next      *cat
	f         func(dog) cat
}

func (c cat) Error() string { return "cat " + c.name }

// key is compared and hashed by its fields.
type key struct {
	_    int32
	what any
	name string
	f    float64
}

// plain is compared as memory.
type plain struct {
	a, b int32
	c    [3]int64
}

type pair[K comparable, V any] struct {
	k K
	v V
}

func (p pair[K, V]) Speak() string { return "pair" }

// large has a pointer mask that is made when it is first needed.
type large struct {
	pad  [1 << 15]uintptr
	rows [1 << 15]struct {
		n uintptr
		p *dog
		s string
	}
}

func try(what string, f func()) {
	defer func() {
		switch e := recover().(type) {
		case nil:
			println(what, "went well")
		case error:
			println(what, e.Error())
		case string:
			println(what, e)
		}
	}()
	f()
}

//go:noinline
func hide(v any) any { return v }

func interfaces() {
	for _, v := range []any{dog{"rex", 4}, &dog{"max", 4}, cat{dog: dog{name: "tom"}}, &cat{livesLeft: 9}, pair[string, dog]{}, 7, "x", nil, plain{}, []dog{{}}} {
		s, speaks := v.(speaker)
		w, walks := v.(walker)
		e, fails := v.(error)
		println(speaks, walks, fails)
		if speaks {
			println(s.Speak())
		}
		if walks {
			println(w.Walk(3))
		}
		if fails {
			println(e.Error())
		}
	}
	try("assert", func() { println(hide(dog{}).(walker).Walk(1)) })
	try("assert", func() { println(hide(plain{}).(*plain).a) })
	try("assert", func() { println(hide(pair[int, cat]{}).(error).Error()) })
	try("assert", func() { println(hide(nil).(speaker).Speak()) })
}

func maps() {
	m := map[any]int{}
	for i := range 1000 {
		m[key{what: i % 10, name: string(rune('a' + i%26)), f: float64(i % 4)}] += i
		m[plain{a: int32(i % 7), c: [3]int64{2: int64(i % 3)}}] += i
		m[pair[string, any]{"k", i % 5}]++
		m[[2]key{{name: "x"}, {what: plain{b: int32(i % 11)}}}] += i
		m[netip.AddrFrom4([4]byte{10, byte(i % 3)})]++
	}
	println(len(m), m[plain{a: 3, c: [3]int64{2: 1}}], m[key{what: 4, name: "e", f: 0}], m[pair[string, any]{"k", 2}],
		m[[2]key{{name: "x"}, {what: plain{b: 5}}}], m[netip.MustParseAddr("10.2.0.0")])
	try("hash", func() { m[hide(key{what: []int{1}})]++ })
	try("hash", func() { m[hide([]int{})]++ })
	try("hash", func() { _ = map[key]int{}[key{what: map[int]int{}}] })
	try("compare", func() { println(hide(key{what: cat{}}) == hide(key{what: cat{}})) })
	println(hide(key{what: 1, name: "n"}) == hide(key{what: 1, name: "n"}), hide(plain{b: 1}) == hide(plain{b: 2}))
}

func collect() {
	l := new(large)
	for i := range l.rows {
		l.rows[i].p = &dog{legs: i}
		l.rows[i].s = string([]byte{byte(i), byte(i >> 8)})
	}
	var keep []*cat
	for i := range 2000 {
		keep = append(keep, &cat{dog: dog{name: string([]byte{byte(i)})}, next: &cat{livesLeft: i}})
		if i%500 == 0 {
			runtime.GC()
		}
	}
	sum := 0
	for i := range l.rows {
		sum += l.rows[i].p.legs + len(l.rows[i].s)
	}
	for _, c := range keep {
		sum += c.next.livesLeft + len(c.name)
	}
	println(sum)
	runtime.SetFinalizer(&dog{"gone", 1}, func(d *dog) { println(d.name == "gone") })
	runtime.GC()
	runtime.Gosched()
}

func main() {
	interfaces()
	maps()
	collect()
	list := []dog{{"c", 1}, {"a", 2}, {"b", 3}}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	println(list[0].name, list[2].name)
	b := []byte("unique")
	h := unique.Make(pair[string, int]{string(b), 1})
	b[0] = 'U'
	println(h.Value().k, h == unique.Make(pair[string, int]{"unique", 1}))
	println(errors.Is(cat{livesLeft: 1, f: nil}, errors.ErrUnsupported), errors.Is(errors.Join(errors.ErrUnsupported), errors.ErrUnsupported))
	panic(cat{dog: dog{name: "panics"}})
}
