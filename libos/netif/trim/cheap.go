package trim

import "ampoule/libos/edit"

// Cheap are the edits that make TCP take fewer instructions. What they call is
// in the Additions tcp.go, route.go and monotonic.go.
var Cheap = []edit.Edit{
	// A segment is acknowledged with the answer to it: tcp.go says when not.
	{File: "pkg/tcpip/transport/tcp/connect.go", Count: 1,
		Old: "\tif e.rcv.RcvNxt != e.snd.MaxSentAck {\n\t\te.snd.sendAck()\n\t}\n",
		New: "\tif e.rcv.RcvNxt != e.snd.MaxSentAck && !e.oweAck() {\n\t\te.snd.sendAck()\n\t}\n"},
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1,
		Old: "type Endpoint struct {\n", New: "type Endpoint struct {\n\towesAck bool\n\towed ackDelay\n\tconfirmed tcpip.MonotonicTime // when the neighbour was confirmed\n\toptions [maxOptionSize]byte // of a segment that is being sent\n"},

	// The goroutine that receives processes what it has queued: tcp.go.
	{File: "pkg/tcpip/transport/tcp/dispatcher.go", Count: 1,
		Old: "type processor struct {\n", New: "type processor struct {\n\tturn\n"},
	{File: "pkg/tcpip/transport/tcp/dispatcher.go", Count: 1,
		Old: "\tp.newEndpointWaker.Assert()\n}\n", New: "\tif !p.polled.Load() {\n\t\tp.newEndpointWaker.Assert()\n\t}\n}\n"},
	{File: "pkg/tcpip/transport/tcp/dispatcher.go", Count: 1,
		Old: "\t\tcase w == &p.newEndpointWaker:\n\t\t\tfor {\n",
		New: "\t\tcase w == &p.newEndpointWaker:\n\t\t\tp.run()\n\t\t}\n\t}\n}\n\n" +
			"// work is the loop that was here.\nfunc (p *processor) work() {\n\t{\n\t\t{\n\t\t\tfor {\n"},
	// An endpoint that another goroutine than a user's holds: let that one go on.
	{File: "pkg/tcpip/transport/tcp/dispatcher.go", Count: 1,
		Old: "\t\t\t\t\tp.epQ.enqueue(ep)\n", New: "\t\t\t\t\tp.epQ.enqueue(ep)\n\t\t\t\t\truntime.Gosched()\n"},
	{File: "pkg/tcpip/transport/tcp/dispatcher.go", Count: 1,
		Old: "\t\"math/rand\"\n", New: "\t\"math/rand\"\n\t\"runtime\"\n"},

	// There is one processor, as there is one P.
	{File: "pkg/tcpip/transport/tcp/protocol.go", Count: 1,
		Old: "p.dispatcher.init(s.InsecureRNG(), runtime.GOMAXPROCS(0))", New: "p.dispatcher.init(s.InsecureRNG(), 1)"},
	{File: "pkg/tcpip/transport/tcp/protocol.go", Count: 1, Old: "\t\"runtime\"\n", New: ""},
	{File: "pkg/tcpip/transport/tcp/dispatcher.go", Count: 1,
		Old: "\treturn &d.processors[d.hasher.hash(id)%uint32(len(d.processors))]\n", New: "\treturn &d.processors[0]\n"},

	// A segment to a neighbour that is known goes to the link endpoint at once, in
	// one copy: route.go and straight.go say when not.
	{File: "pkg/tcpip/transport/tcp/connect.go", Count: 1,
		Old: "\tpkt.GSOOptions = gso\n\tpkt.Hash = tf.txHash\n\tpkt.Owner = owner\n\tbuildTCPHdr(",
		New: "\tif err, ok := writeStraight(r, &tf, pkt, gso); ok {\n\t\treturn err\n\t}\n" +
			"\tpkt.GSOOptions = gso\n\tpkt.Hash = tf.txHash\n\tpkt.Owner = owner\n\tbuildTCPHdr("},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1,
		Old: "\t// We need to clone the packet because sendRaw takes ownership of pkt,\n",
		New: "\tif err, ok := s.ep.sendStraight(pkt, flags, seq, rcvNxt, rcvWnd); ok {\n\t\treturn err\n\t}\n\n" +
			"\t// We need to clone the packet because sendRaw takes ownership of pkt,\n"},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1,
		Old: "\treturn s.ep.sendEmptyRaw(flags, seq, rcvNxt, rcvWnd)\n",
		New: "\tif err, ok := s.ep.sendStraight(nil, flags, seq, rcvNxt, rcvWnd); ok {\n\t\treturn err\n\t}\n" +
			"\treturn s.ep.sendEmptyRaw(flags, seq, rcvNxt, rcvWnd)\n"},
	{File: "pkg/tcpip/stack/nic.go", Count: 1,
		Old: "type nic struct {\n", New: "type nic struct {\n\tsegments segmentWriter // NetworkLinkEndpoint, if it is one\n"},
	{File: "pkg/tcpip/stack/nic.go", Count: 1,
		Old: "\tnic.linkResQueue.init(nic)\n", New: "\tnic.linkResQueue.init(nic)\n\tnic.segments, _ = ep.(segmentWriter)\n"},

	// Whether a segment is in the list of those to be sent was a set beside it.
	{File: "pkg/tcpip/transport/tcp/segment.go", Count: 1,
		Old: "type segment struct {\n", New: "type segment struct {\n\tqueued bool // in the write list\n\tflat uint8 // its list of flats, from 1 on\n"},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1,
		Old: "\tset       map[*segment]struct{}\n", New: ""},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1,
		Old: "\t\twriteList: protectedWriteList{\n\t\t\tset: make(map[*segment]struct{}),\n\t\t},\n", New: ""},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1,
		Old: "if _, ok := wl.set[seg]; !ok {", New: "if !seg.queued {"},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 2,
		Old: "if _, ok := wl.set[seg]; ok {", New: "if seg.queued {"},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 2,
		Old: "\twl.set[seg] = struct{}{}\n", New: "\tseg.queued = true\n"},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1,
		Old: "\tdelete(wl.set, seg)\n", New: "\tseg.queued = false\n"},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1,
		Old: "if _, ok := s.writeList.set[seg]; !ok {", New: "if !seg.queued {"},

	// Monotonic times are integers; the way through time.Unix costs a twentieth
	// of a request. What does not fit is cut off as there.
	{File: "pkg/tcpip/tcpip.go", Count: 1,
		Old: "\t\tnanoseconds: time.Unix(0, mt.nanoseconds).Add(d).Sub(time.Unix(0, 0)).Nanoseconds(),\n",
		New: "\t\tnanoseconds: addNanoseconds(mt.nanoseconds, int64(d)),\n"},
	{File: "pkg/tcpip/tcpip.go", Count: 1,
		Old: "\treturn time.Unix(0, mt.nanoseconds).Sub(time.Unix(0, u.nanoseconds))\n",
		New: "\treturn time.Duration(subNanoseconds(mt.nanoseconds, u.nanoseconds))\n"},

	// Segments, packets, views and chunks of memory come from short lists:
	// pool.go says why. The lists of chunks hold at most 64 KiB each.
	{File: "pkg/sync/aliases.go", Count: 1,
		Old: "\t// Pool is an alias of sync.Pool.\n\tPool = sync.Pool\n\n", New: ""},
	{File: "pkg/buffer/chunk.go", Count: 1,
		Old: "\t\tchunkPools[i].New = func() any {\n", New: "\t\tchunkPools[i].Max = max(MaxChunkSize/chunkSize, 1)\n\t\tchunkPools[i].New = func() any {\n"},

	// What lies in the first view, which is nearly always all, takes no search.
	{File: "pkg/buffer/buffer.go", Count: 1,
		Old: "\ttgt := Range{begin: offset, end: offset + length}\n\tif tgt.Intersect(",
		New: "\tif v := b.data.Front(); v != nil && offset >= 0 && length > 0 && length <= v.Size()-offset && !v.sharesChunk() {\n" +
			"\t\treturn View{read: v.read + offset, write: v.read + offset + length, chunk: v.chunk}, true\n\t}\n" +
			"\ttgt := Range{begin: offset, end: offset + length}\n\tif tgt.Intersect("},

	// Statistics are a thousand bytes of pointers, which were copied to increment
	// one counter.
	{File: "pkg/tcpip/stack/stack.go", Count: 1,
		Old: "func (s *Stack) Stats() tcpip.Stats {\n\treturn s.stats\n", New: "func (s *Stack) Stats() *tcpip.Stats {\n\treturn &s.stats\n"},
	{File: "pkg/tcpip/stack/route.go", Count: 1,
		Old: "func (r *Route) Stats() tcpip.Stats {\n", New: "func (r *Route) Stats() *tcpip.Stats {\n"},

	// An option for experiments, which no interface here has, was looked up with
	// each segment.
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1,
		Old: "\tif nic, err := e.stack.GetNICByID(route.OutgoingNIC()); err == nil && nic.GetExperimentIPOptionEnabled() {\n", New: "\tif false {\n"},

	// A connection asked for each of its settings by way of a table of protocols,
	// and got it in memory of its own.
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 7,
		Old: "err := s.TransportProtocolOption(ProtocolNumber, &", New: "err := protocol.Option(&"},
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1,
		Old: "err := e.stack.TransportProtocolOption(ProtocolNumber, &v);", New: "err := e.protocol.Option(&v);"},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 3,
		Old: "ep.snd.ep.stack.TransportProtocolOption(ProtocolNumber, &", New: "ep.protocol.Option(&"},
	{File: "pkg/tcpip/transport/tcp/connect.go", Count: 1,
		Old: "e.stack.TransportProtocolOption(ProtocolNumber, &tcpTW)", New: "e.protocol.Option(&tcpTW)"},
	{File: "pkg/tcpip/transport/tcp/accept.go", Count: 1,
		Old: "err := e.stack.TransportProtocolOption(header.TCPProtocolNumber, &alwaysUseSynCookies);",
		New: "err := e.protocol.Option(&alwaysUseSynCookies);"},

	// Most timers of a connection are never set: what they call is made when they
	// are (timers.go).
	{File: "pkg/tcpip/transport/tcp/timer.go", Count: 1,
		Old: "type timer struct {\n", New: "type timer struct {\n\tof   *Endpoint\n\tkind timerKind\n"},
	{File: "pkg/tcpip/transport/tcp/timer.go", Count: 1,
		Old: "t.clock.AfterFunc(d, t.callback)", New: "t.clock.AfterFunc(d, t.handler())"},
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1,
		Old: "e.keepalive.timer.init(e.stack.Clock(), timerHandler(e, e.keepaliveTimerExpired))",
		New: "e.keepalive.timer.prepare(e, keepaliveTimer)"},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1,
		Old: "ep.snd.resendTimer.init(ep.snd.ep.stack.Clock(), timerHandler(ep.snd.ep, ep.snd.retransmitTimerExpired))",
		New: "ep.snd.resendTimer.prepare(ep, resendTimer)"},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1,
		Old: "ep.snd.reorderTimer.init(ep.snd.ep.stack.Clock(), timerHandler(ep.snd.ep, ep.snd.rc.reorderTimerExpired))",
		New: "ep.snd.reorderTimer.prepare(ep, reorderTimer)"},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1,
		Old: "ep.snd.probeTimer.init(ep.snd.ep.stack.Clock(), timerHandler(ep.snd.ep, ep.snd.probeTimerExpired))",
		New: "ep.snd.probeTimer.prepare(ep, probeTimer)"},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1,
		Old: "ep.snd.corkTimer.init(ep.snd.ep.stack.Clock(), timerHandler(ep.snd.ep, ep.snd.corkTimerExpired))",
		New: "ep.snd.corkTimer.prepare(ep, corkTimer)"},

	// What was received out of order is in a slice, where it was in a tree (ranges.go).
	{File: "pkg/tcpip/transport/tcp/sack_scoreboard.go", Count: 1,
		Old: "\t\"github.com/google/btree\"\n", New: ""},
	{File: "pkg/tcpip/transport/tcp/sack_scoreboard.go", Count: 1,
		Old: "*btree.BTreeG[header.SACKBlock] `", New: "ranges `"},
	{File: "pkg/tcpip/transport/tcp/sack_scoreboard.go", Count: 1,
		Old: "\t\tranges:    btree.NewG[header.SACKBlock](defaultBtreeDegree, sackBlockLess),\n", New: ""},
	{File: "pkg/tcpip/transport/tcp/sack_scoreboard.go", Count: 1,
		Old: "\ts.ranges = btree.NewG[header.SACKBlock](defaultBtreeDegree, sackBlockLess)\n", New: "\ts.ranges = nil\n"},

	// One call of the hash for a sequence number and for the offset of timestamps,
	// without memory of their own (secrets.go).
	{File: "pkg/tcpip/transport/tcp/connect.go", Count: 1, Old: "\nfunc generateSecureISN(", New: "\nfunc generalSecureISN("},
	{File: "pkg/tcpip/transport/tcp/protocol.go", Count: 1, Old: "\nfunc (p *protocol) tsOffset(", New: "\nfunc (p *protocol) generalTSOffset("},

	// A fresh connection reads and writes by slices.
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1, Old: "\t\tlimRdr:        &io.LimitedReader{},\n", New: ""},
}
