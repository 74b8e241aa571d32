package trim

import "ampoule/libos/edit"

// Connections are the edits that make it cheaper to open and close a TCP connection.
// They are applied after Cheap.
var Connections = []edit.Edit{
	// A SYN or SYN-ACK goes to the link endpoint at once, as other segments do. It has
	// DF, as in Linux: it is never longer than the least that any link carries.
	{File: "pkg/tcpip/transport/tcp/connect.go", Count: 1,
		Old: "\t// We ignore SYN send errors and let the callers re-attempt send.\n",
		New: "\ttf.df = true\n\tif err, ok := writeStraight(r, &tf, nil, stack.GSO{}); ok {\n\t\te.countSyn(err)\n\t\tputOptions(tf.opts)\n\t\treturn nil\n\t}\n" +
			"\t// We ignore SYN send errors and let the callers re-attempt send.\n"},

	// The sequence number of a passive handshake was made twice.
	{File: "pkg/tcpip/transport/tcp/accept.go", Count: 1,
		Old: "\tisn := generateSecureISN(s.id, l.stack.Clock(), l.protocol.seqnumSecret)\n", New: ""},
	{File: "pkg/tcpip/transport/tcp/accept.go", Count: 1,
		Old: "ep.newPassiveHandshake(isn, irs, opts, deferAccept)", New: "ep.newPassiveHandshake(irs, opts, deferAccept)"},
	{File: "pkg/tcpip/transport/tcp/connect.go", Count: 1,
		Old: "newPassiveHandshake(isn, irs seqnum.Value,", New: "newPassiveHandshake(irs seqnum.Value,"},
	{File: "pkg/tcpip/transport/tcp/connect.go", Count: 1,
		Old: "h.resetToSynRcvd(isn, irs, opts, deferAccept)", New: "h.resetToSynRcvd(h.iss, irs, opts, deferAccept)"},

	// An accepted connection's addresses and ports are its own while it is registered
	// with the demultiplexer. That they are reserved too would only say so earlier to
	// who binds a port, and listeners bind whether or not there are such (netif.Listen).
	{File: "pkg/tcpip/transport/tcp/accept.go", Count: 1,
		Old: "\t\tif !ep.reserveTupleLocked() {\n\t\t\tep.mu.Unlock()\n\t\t\tep.Close()\n\n\t\t\treturn nil, &tcpip.ErrConnectionAborted{} // +checklocksignore\n\t\t}\n\n", New: ""},
	{File: "pkg/tcpip/transport/tcp/accept.go", Count: 1,
		Old: "\t\tif !n.reserveTupleLocked() {\n\t\t\tn.mu.Unlock()\n\t\t\te.acceptMu.Unlock()\n\t\t\tn.Close()\n\n" +
			"\t\t\te.stack.Stats().TCP.FailedConnectionAttempts.Increment()\n\t\t\te.stats.FailedConnectionAttempts.Increment()\n\t\t\treturn nil\n\t\t}\n\n", New: ""},

	// Endpoints that nobody has any more were listed twice, for who saves or waits for
	// them. netif closes a stack and waits for none.
	{File: "pkg/tcpip/stack/stack.go", Count: 1,
		Old: "\ts.cleanupEndpointsMu.Lock()\n\ts.cleanupEndpoints[ep] = struct{}{}\n\ts.cleanupEndpointsMu.Unlock()\n\n", New: ""},
	{File: "pkg/tcpip/stack/stack.go", Count: 1,
		Old: "\ts.cleanupEndpointsMu.Lock()\n\tdelete(s.cleanupEndpoints, ep)\n\ts.cleanupEndpointsMu.Unlock()\n", New: ""},
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1, Old: "\ttcpip.AddDanglingEndpoint(e)\n", New: ""},
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1, Old: "\ttcpip.DeleteDanglingEndpoint(e)\n", New: ""},

	// netif knows of each connection from its first SYN on: opening.go.
	{File: "pkg/tcpip/transport/tcp/protocol.go", Count: 1,
		Old: "type protocol struct {\n", New: "type protocol struct {\n\tfollower follower // or nil; set before there are endpoints\n"},
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1,
		Old: "type Endpoint struct {\n", New: "type Endpoint struct {\n\tfollowed any // what follower gave\n"},
	{File: "pkg/tcpip/transport/tcp/accept.go", Count: 1, Old: "\tep.isRegistered = true\n", New: "\tep.registered()\n"},
	{File: "pkg/tcpip/transport/tcp/accept.go", Count: 1, Old: "\t\tn.isRegistered = true\n", New: "\t\tn.registered()\n"},
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1,
		Old: "\te.isRegistered = true\n\tr.Acquire()\n", New: "\te.registered()\n\tr.Acquire()\n"},
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1,
		Old: "e.TransportEndpointInfo.ID, e, e.boundPortFlags, e.boundBindToDevice)\n\t\te.isRegistered = false\n",
		New: "e.TransportEndpointInfo.ID, e, e.boundPortFlags, e.boundBindToDevice)\n\t\te.isRegistered = false\n\t\te.leave()\n"},

	// What every connection has lies in its endpoint: one piece of memory where there
	// were a dozen. parts.go has the type.
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1,
		Old: "\tsegmentQueue segmentQueue `", New: "\tparts parts\n\tsegmentQueue segmentQueue `"},
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1,
		Old: "\te.segmentQueue.ep = e\n", New: "\te.segmentQueue.ep = e\n\tif waiterQueue == nil {\n\t\te.waiterQueue = &e.parts.queue\n\t}\n"},
	{File: "pkg/tcpip/transport/tcp/accept.go", Count: 1, Old: "startHandshake(s, opts, &waiter.Queue{}, e.owner)", New: "startHandshake(s, opts, nil, e.owner)"},
	{File: "pkg/tcpip/transport/tcp/accept.go", Count: 1,
		Old: "createConnectingEndpoint(s, rcvdSynOptions, &waiter.Queue{})", New: "createConnectingEndpoint(s, rcvdSynOptions, nil)"},
	{File: "pkg/tcpip/transport/tcp/accept.go", Count: 1,
		Old: "n.effectiveNetProtos = []tcpip.NetworkProtocolNumber{s.pkt.NetworkProtocolNumber}\n",
		New: "n.effectiveNetProtos = append(n.parts.protos[:0], s.pkt.NetworkProtocolNumber)\n"},
	{File: "pkg/tcpip/transport/tcp/accept.go", Count: 1,
		Old: "route, err := l.stack.FindRoute(s.pkt.NICID, s.pkt.Network().DestinationAddress(), s.pkt.Network().SourceAddress(), s.pkt.Net",
		New: "route, err := l.stack.FindRouteBack(s.foreign, s.pkt.NICID, s.id.LocalAddress, s.id.RemoteAddress, s.pkt.Net"},
	{File: "pkg/tcpip/transport/tcp/connect.go", Count: 1, Old: "\th = &handshake{\n", New: "\th = &e.parts.h\n\t*h = handshake{\n"},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1, Old: "\tep.snd = &sender{\n", New: "\tep.snd = &ep.parts.snd\n\t*ep.snd = sender{\n"},
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1,
		Old: "ep.snd.ep.scoreboard = NewSACKScoreboard(", New: "ep.scoreboard = &ep.parts.board\n\tep.parts.board = *NewSACKScoreboard("},
	{File: "pkg/tcpip/transport/tcp/rcv.go", Count: 1, Old: "\treturn &receiver{\n", New: "\tep.parts.rcv = receiver{\n"},
	{File: "pkg/tcpip/transport/tcp/rcv.go", Count: 1,
		Old: "\t\tlastRcvdAckTime: ep.stack.Clock().NowMonotonic(),\n\t}\n", New: "\t\tlastRcvdAckTime: ep.stack.Clock().NowMonotonic(),\n\t}\n\treturn &ep.parts.rcv\n"},
	{File: "pkg/tcpip/transport/tcp/reno.go", Count: 1,
		Old: "\treturn &renoState{s: s}\n", New: "\tr := &s.ep.parts.reno\n\tr.s = s\n\treturn r\n"},
	{File: "pkg/tcpip/transport/tcp/reno_recovery.go", Count: 1,
		Old: "\treturn &renoRecovery{s: s}\n", New: "\tr := &s.ep.parts.recovery\n\tr.s = s\n\treturn r\n"},
	{File: "pkg/tcpip/transport/tcp/sack_recovery.go", Count: 1,
		Old: "\treturn &sackRecovery{s: s}\n", New: "\tr := &s.ep.parts.sack\n\tr.s = s\n\treturn r\n"},

	// Endpoints that have the same addresses and ports, of which there is nearly always
	// one, were in a map by interface; they are all for any interface (bynic.go).
	{File: "pkg/tcpip/stack/transport_demuxer.go", Count: 1,
		Old: "\tendpoints map[tcpip.NICID]*multiPortEndpoint\n",
		New: "\tendpoints byNIC\n"},
	{File: "pkg/tcpip/stack/transport_demuxer.go", Count: 1,
		Old: "\tfor _, ep := range epsByNIC.endpoints {\n",
		New: "\tif ep, ok := epsByNIC.endpoints.get(0); ok {\n"},
	{File: "pkg/tcpip/stack/transport_demuxer.go", Count: 1,
		Old: "epsByNIC.endpoints[pkt.NICID]",
		New: "epsByNIC.endpoints.get(pkt.NICID)"},
	{File: "pkg/tcpip/stack/transport_demuxer.go", Count: 3,
		Old: "epsByNIC.endpoints[0]",
		New: "epsByNIC.endpoints.get(0)"},
	{File: "pkg/tcpip/stack/transport_demuxer.go", Count: 1,
		Old: "epsByNIC.endpoints[n.ID()]",
		New: "epsByNIC.endpoints.get(n.ID())"},
	{File: "pkg/tcpip/stack/transport_demuxer.go", Count: 1,
		Old: "epsByNIC.endpoints[nicID]",
		New: "epsByNIC.endpoints.get(nicID)"},
	{File: "pkg/tcpip/stack/transport_demuxer.go", Count: 3,
		Old: "multiPortEp, ok := epsByNIC.endpoints[bindToDevice]\n",
		New: "multiPortEp, ok := epsByNIC.endpoints.get(bindToDevice)\n"},
	{File: "pkg/tcpip/stack/transport_demuxer.go", Count: 1,
		Old: "\t\tmultiPortEp = &multiPortEndpoint{\n\t\t\tdemux:      d,\n\t\t\tnetProto:   netProto,\n\t\t\ttransProto: transProto,\n\t\t}\n",
		New: "\t\tmultiPortEp = epsByNIC.endpoints.prepare(bindToDevice)\n\t\tmultiPortEp.demux, multiPortEp.netProto, multiPortEp.transProto = d, netProto, transProto\n"},
	{File: "pkg/tcpip/stack/transport_demuxer.go", Count: 1,
		Old: "\t\tepsByNIC.endpoints[bindToDevice] = multiPortEp\n",
		New: "\t\tepsByNIC.endpoints.there = true\n"},
	{File: "pkg/tcpip/stack/transport_demuxer.go", Count: 1,
		Old: "\t\tdelete(epsByNIC.endpoints, bindToDevice)\n",
		New: "\t\tepsByNIC.endpoints.there = false\n"},
	{File: "pkg/tcpip/stack/transport_demuxer.go", Count: 1,
		Old: "\treturn len(epsByNIC.endpoints) == 0\n",
		New: "\treturn !epsByNIC.endpoints.there\n"},
	{File: "pkg/tcpip/stack/transport_demuxer.go", Count: 1,
		Old: "\t\t\tendpoints: make(map[tcpip.NICID]*multiPortEndpoint),\n\t\t\tseed:      d.stack.seed,\n",
		New: "\t\t\tseed: d.stack.seed,\n"},

	// The way back to a peer is that of the last one, if the table of routes says so for
	// both: back.go.
	{File: "pkg/tcpip/stack/stack.go", Count: 1, Old: "type Stack struct {\n", New: "type Stack struct {\n\tways [2]way // of IPv4 and IPv6\n"},
	{File: "pkg/tcpip/transport/tcp/segment.go", Count: 1,
		Old: "type segment struct {\n", New: "type segment struct {\n\tforeign bool // for a listener, from an ordinary address of another host\n"},

	// A FIN that is sent again leaves the state as it is. It was FIN-WAIT-1 then, whatever
	// the peer had said: one that was lost kept a connection that was over on both sides
	// until the time for FIN-WAIT-2 was over.
	{File: "pkg/tcpip/transport/tcp/snd.go", Count: 1,
		Old: "\t\tdefault:\n\t\t\ts.ep.setEndpointState(StateFinWait1)\n", New: "\t\tcase StateEstablished:\n\t\t\ts.ep.setEndpointState(StateFinWait1)\n"},

	// A number at random for each, by which a device with several queues would be told
	// which to use.
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1, Old: "\t\ttxHash:        s.InsecureRNG().Uint32(),\n", New: ""},
}
