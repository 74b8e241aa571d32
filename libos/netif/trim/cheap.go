package trim

import "ampoule/libos/edit"

// Cheap are the edits that make TCP take fewer instructions. What they call is
// in the Additions tcp.go, route.go and monotonic.go.
var Cheap = []edit.Edit{
	// A segment to a neighbour that is known goes to the link endpoint at once:
	// route.go says when not.
	{File: "pkg/tcpip/transport/tcp/connect.go", Count: 2,
		Old: "r.WritePacket(stack.NetworkHeaderParams{", New: "r.WriteSegment(stack.NetworkHeaderParams{"},
}
