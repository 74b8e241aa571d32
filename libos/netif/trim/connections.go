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
}
