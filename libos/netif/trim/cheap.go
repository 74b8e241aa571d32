package trim

import "ampoule/libos/edit"

// Cheap are the edits that make TCP take fewer instructions. What they call is
// in the Additions tcp.go, route.go and monotonic.go.
var Cheap = []edit.Edit{
	// A segment is acknowledged with the answer to it: tcp.go says when not.
	{File: "pkg/tcpip/transport/tcp/connect.go", Count: 1,
		Old: "\tif e.rcv.RcvNxt != e.snd.MaxSentAck {\n\t\te.snd.sendAck()\n\t}\n",
		New: "\tif e.rcv.RcvNxt != e.snd.MaxSentAck && !e.oweAck() {\n\t\te.snd.sendAck()\n\t}\n"},
	{File: "pkg/tcpip/transport/tcp/dispatcher.go", Count: 1,
		Old: "\t\t\t\tif ep == nil {\n\t\t\t\t\tbreak\n\t\t\t\t}\n",
		New: "\t\t\t\tif ep == nil && p.payAcks() {\n\t\t\t\t\tcontinue\n\t\t\t\t}\n\t\t\t\tif ep == nil {\n\t\t\t\t\tbreak\n\t\t\t\t}\n"},
	{File: "pkg/tcpip/transport/tcp/dispatcher.go", Count: 1,
		Old: "type processor struct {\n", New: "type processor struct {\n\towing owing\n"},
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1,
		Old: "type Endpoint struct {\n", New: "type Endpoint struct {\n\towesAck bool\n\toptions [maxOptionSize]byte // of a segment that is being sent\n"},

	// There is one processor, as there is one P.
	{File: "pkg/tcpip/transport/tcp/dispatcher.go", Count: 1,
		Old: "\treturn &d.processors[d.hasher.hash(id)%uint32(len(d.processors))]\n",
		New: "\tif len(d.processors) == 1 {\n\t\treturn &d.processors[0]\n\t}\n\treturn &d.processors[d.hasher.hash(id)%uint32(len(d.processors))]\n"},

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
		Old: "type segment struct {\n", New: "type segment struct {\n\tqueued bool // in the write list\n"},
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
}
