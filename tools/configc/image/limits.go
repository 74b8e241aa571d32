package image

import "time"

// Limits is the table [limits]. Zero means the default.
type Limits struct {
	Connections, Backlog, Retries  int
	Receive, Send                  int // bytes
	TimeWait, FinWait              time.Duration
	UDPQueue, UDPBuffer            int
	ICMPRate, ICMPBurst, Neighbour int
}

func limitsTable() *table {
	const byMemory = "sized by the VM's memory"
	buffer := size{4 << 10, 1 << 20}
	wait := duration{time.Second, 4 * time.Minute}
	return &table{name: "limits", about: "what others can make the image use", keys: []key{
		{name: "tcp_connections", want: integer{1, 65535}, absent: byMemory + ": a third of it",
			about: "TCP connections at a time, those in TIME_WAIT included; one more is reset"},
		{name: "tcp_backlog", want: integer{1, 1024}, absent: byMemory + ": 32 or 64",
			about: "connections that wait to be taken, and half-open ones before SYN cookies answer"},
		{name: "tcp_receive_buffer", want: buffer, absent: byMemory + `: "8KiB" or "64KiB"`, about: "most that one connection holds unread"},
		{name: "tcp_send_buffer", want: buffer, absent: byMemory + `: "16KiB" or "64KiB"`, about: "most that one connection holds unsent"},
		{name: "tcp_time_wait", want: wait, absent: `"2s"`, about: "how long a closed connection stays known"},
		{name: "tcp_fin_wait", want: wait, absent: `"5s"`, about: "how long a connection that we closed waits for the other side"},
		{name: "tcp_retries", want: integer{1, 15}, absent: "8", about: "how often a segment is sent again before the connection is given up"},
		{name: "udp_queue", want: integer{1, 4096}, absent: byMemory + ": 128 or 256", about: "datagrams that a socket holds unread"},
		{name: "udp_buffer", want: buffer, absent: `"64KiB"`, about: "bytes that a socket holds unread"},
		{name: "icmp_rate", want: integer{1, 100000}, absent: "200", about: "ICMP answers a second"},
		{name: "icmp_burst", want: integer{1, 100000}, absent: "50", about: "ICMP answers at once"},
		{name: "neighbour_queue", want: integer{1, 256}, absent: "8",
			about: "frames taken from a neighbour while its link address is being asked for"},
	}}
}

func limits(s *section) Limits {
	return Limits{
		Connections: s.integer("tcp_connections"), Backlog: s.integer("tcp_backlog"), Retries: s.integer("tcp_retries"),
		Receive: s.size("tcp_receive_buffer"), Send: s.size("tcp_send_buffer"),
		TimeWait: s.duration("tcp_time_wait"), FinWait: s.duration("tcp_fin_wait"),
		UDPQueue: s.integer("udp_queue"), UDPBuffer: s.size("udp_buffer"),
		ICMPRate: s.integer("icmp_rate"), ICMPBurst: s.integer("icmp_burst"), Neighbour: s.integer("neighbour_queue"),
	}
}
