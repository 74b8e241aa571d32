package xentest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
)

// Domain is the VM's number.
const Domain = 7

// home is where the VM's relative paths start.
const home = "/local/domain/7/"

// Store is xenstored with one connection, the VM's. A change made by a test with
// Set or Remove fires the VM's watches.
type Store struct {
	d    *Dom0
	page []byte

	mu       sync.Mutex
	port     xen.Port
	tree     map[string]string
	denied   map[string]bool // paths that the VM may not write
	secret   map[string]bool // nor read
	version  int             // counts changes
	watches  []watch
	txs      map[uint32]*tx
	nextTx   uint32
	hooks    []func(path, value string)
	wrote    []string // paths that the request being served has written
	in       []byte   // what has come of a message
	out      []byte   // what the ring had no room for
	stalled  bool
	requests int
	conflict int // commits to answer with EAGAIN
	// answer, if not nil, sees each request before the store does; it may answer
	// in its place with any bytes at all.
	answer func(typ, id uint32, body []byte) (raw []byte, ok bool)
}

type watch struct{ path, asked, token string }

type tx struct {
	tree    map[string]string
	version int
	changed []string
}

func newStore(d *Dom0) *Store {
	s := &Store{d: d, page: mapPages(d.tb, 1), tree: map[string]string{}, denied: map[string]bool{}, secret: map[string]bool{}, txs: map[uint32]*tx{}}
	s.port = d.bind(s.serve)
	s.tree["/local/domain/7/name"] = "ampoule"
	s.tree["/local/domain/7/domid"] = "7"
	s.tree["/local/domain/7/control/shutdown"] = ""
	// Indexes do not start at 0, and wrap soon.
	for _, off := range []int{abi.StoreReqCons, abi.StoreReqProd, abi.StoreRspCons, abi.StoreRspProd} {
		store(s.page, off, 0xfffffff0)
	}
	return s
}

// Line is the store's page and port.
func (s *Store) Line() (xen.Line, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return xen.Line{Page: xen.PageOf(s.page), Port: s.port}, nil
}

// Page is the page that store and VM share.
func (s *Store) Page() []byte { return s.page }

// Set writes a path as the toolstack does.
func (s *Store) Set(path, value string) {
	s.mu.Lock()
	s.tree[path] = value
	s.changed(path)
	s.mu.Unlock()
}

// Remove removes a path and all below it.
func (s *Store) Remove(path string) {
	s.mu.Lock()
	remove(s.tree, path)
	s.changed(path)
	s.mu.Unlock()
}

// Get reads a path.
func (s *Store) Get(path string) (value string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok = s.tree[path]
	return value, ok
}

// Deny makes writes of the VM to a path fail with EACCES.
func (s *Store) Deny(path string) {
	s.mu.Lock()
	s.denied[path] = true
	s.mu.Unlock()
}

// DenyRead makes reads of a path by the VM fail with EACCES, as those of what is
// another domain's do.
func (s *Store) DenyRead(path string) {
	s.mu.Lock()
	s.secret[path] = true
	s.mu.Unlock()
}

// Stall makes the store leave requests in the ring, or goes on.
func (s *Store) Stall(on bool) {
	s.mu.Lock()
	s.stalled = on
	s.mu.Unlock()
	s.serve()
}

// Conflict makes the next n commits answer EAGAIN.
func (s *Store) Conflict(n int) {
	s.mu.Lock()
	s.conflict = n
	s.mu.Unlock()
}

// Answer sets what sees each request before the store does and may answer in its
// place, with any bytes at all.
func (s *Store) Answer(f func(typ, id uint32, body []byte) (raw []byte, ok bool)) {
	s.mu.Lock()
	s.answer = f
	s.mu.Unlock()
}

// Requests is the number of requests taken.
func (s *Store) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Watches is the number of watches that the VM has set.
func (s *Store) Watches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.watches)
}

// Raw puts bytes into the response ring as they are.
func (s *Store) Raw(b []byte) {
	s.mu.Lock()
	s.push(b)
	s.mu.Unlock()
}

// Asked is the number of bytes of requests that the store has not taken.
func (s *Store) Asked() int {
	return int(load(s.page, abi.StoreReqProd) - load(s.page, abi.StoreReqCons))
}

// Backlog is the number of bytes that the response ring has no room for.
func (s *Store) Backlog() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.out)
}

// SetRspProd moves the response index, whatever is in the ring.
func (s *Store) SetRspProd(v uint32) { store(s.page, abi.StoreRspProd, v) }

// onWrite calls f after each write by the VM, within its Notify.
func (s *Store) onWrite(f func(path, value string)) {
	s.mu.Lock()
	s.hooks = append(s.hooks, f)
	s.mu.Unlock()
}

// restore forgets the connection.
func (s *Store) restore() {
	port := s.d.bind(s.serve)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.port, s.watches, s.txs, s.in, s.out = port, nil, map[uint32]*tx{}, nil, nil
}

// changed fires the watches of a path: those above it, on it and below it.
// Called with mu held.
func (s *Store) changed(path string) {
	s.version++
	for _, w := range s.watches {
		if w.path == path || strings.HasPrefix(path, w.path+"/") || strings.HasPrefix(w.path, path+"/") {
			s.fire(w, path)
		}
	}
}

func (s *Store) fire(w watch, path string) {
	if !strings.HasPrefix(w.asked, "/") {
		path = strings.TrimPrefix(path, home)
	}
	s.push(Message(abi.StoreWatchEvent, 0, path+"\x00"+w.token+"\x00"))
}

// Message makes a message as it is on the wire.
func Message(typ, id uint32, body string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, typ)
	b = binary.LittleEndian.AppendUint32(b, id)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// push puts bytes into the response ring; the rest waits for room.
func (s *Store) push(b []byte) {
	s.out = append(s.out, b...)
	prod, cons := load(s.page, abi.StoreRspProd), load(s.page, abi.StoreRspCons)
	for len(s.out) > 0 && prod-cons < abi.StoreRing {
		s.page[abi.StoreRsp+prod%abi.StoreRing] = s.out[0]
		s.out = s.out[1:]
		prod++
	}
	store(s.page, abi.StoreRspProd, prod)
}

// serve takes what is in the request ring. It runs within Notify.
func (s *Store) serve() {
	s.mu.Lock()
	var after []func()
	for !s.stalled {
		prod, cons := load(s.page, abi.StoreReqProd), load(s.page, abi.StoreReqCons)
		if prod-cons > abi.StoreRing {
			s.mu.Unlock()
			panic(Violation(fmt.Sprintf("store: request index %#x, taken %#x", prod, cons)))
		}
		for ; cons != prod; cons++ {
			s.in = append(s.in, s.page[abi.StoreReq+cons%abi.StoreRing])
		}
		store(s.page, abi.StoreReqCons, cons)
		f, ok := s.message()
		if !ok {
			break
		}
		after = append(after, f...)
	}
	s.push(nil)
	s.mu.Unlock()
	for _, f := range after {
		f()
	}
}

// message handles one whole message, if there is one, and says what is to be
// done with mu free.
func (s *Store) message() (after []func(), ok bool) {
	if len(s.in) < abi.StoreHeaderSize {
		return nil, false
	}
	le := binary.LittleEndian
	typ, id, txid, n := le.Uint32(s.in), le.Uint32(s.in[4:]), le.Uint32(s.in[8:]), le.Uint32(s.in[12:])
	if n > abi.StorePayloadMax {
		panic(Violation(fmt.Sprintf("store: request of %d bytes", n)))
	}
	if len(s.in) < abi.StoreHeaderSize+int(n) {
		return nil, false
	}
	body := slices.Clone(s.in[abi.StoreHeaderSize : abi.StoreHeaderSize+n])
	s.in = s.in[abi.StoreHeaderSize+n:]
	s.requests++
	if s.answer != nil {
		if raw, ok := s.answer(typ, id, body); ok {
			s.push(raw)
			return nil, true
		}
	}
	r, fail := s.request(typ, txid, string(body))
	if fail != "" {
		s.push(Message(abi.StoreError, id, fail+"\x00"))
		return nil, true
	}
	s.push(Message(typ, id, r))
	for _, p := range s.wrote {
		v := s.tree[p]
		for _, h := range s.hooks {
			after = append(after, func() { h(p, v) })
		}
	}
	s.wrote = s.wrote[:0]
	return after, true
}
