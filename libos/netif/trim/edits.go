package trim

import "ampoule/libos/edit"

// Edits is every change to a file, each with its reason.
var Edits = []edit.Edit{
	// Whatever may be printed stays in the image with all its methods; our own
	// formatter knows what the stack prints.
	{File: "*.go", Old: "\t\"fmt\"\n", New: "\tfmt \"ampoule/libos/format\"\n", Count: 72},

	// A warning about a segment, which nobody would see.
	{File: "pkg/tcpip/transport/tcp/dispatcher.go", Count: 1, Old: "\t\t\tif warnRateLimiter.Allow() {\n", New: "\t\t\tif false {\n"},
	{File: "pkg/tcpip/transport/tcp/dispatcher.go", Count: 1,
		Old: "var warnRateLimiter = rate.NewLimiter(rate.Every(time.Second), 1)\n", New: "const _ = rate.Limit(time.Second)\n"},

	// Classes of locks are registered by reflection for a checker that is off.
	{File: "*_mutex.go", Old: "\nfunc init() {\n", New: "\nfunc _() {\n", Count: 35},

	// Reference counts are watched for leaks when a flag says so; it is never set.
	{File: "*_refs.go", Old: "\t\"gvisor.dev/gvisor/pkg/refs\"\n", New: "", Count: 4},
	{File: "*_refs.go", Old: "\trefs.Register(r)\n", New: "", Count: 8},
	{File: "*_refs.go", Old: "\trefs.Unregister(r)\n", New: "", Count: 4},
	{File: "*_refs.go", Old: "\t\trefs.LogIncRef(r, v)\n", New: "", Count: 4},
	{File: "*_refs.go", Old: "\t\trefs.LogTryIncRef(r, v)\n", New: "\t\t_ = v\n", Count: 4},
	{File: "*_refs.go", Old: "\t\trefs.LogDecRef(r, v)\n", New: "", Count: 4},

	// netif gives the stack its randomness and an empty packet filter;
	// what would be made without brings encoding/binary's reflection
	// and the filter's rules.
	{File: "pkg/tcpip/stack/stack.go", Count: 1,
		Old: "\t\topts.SecureRNG = cryptorand.Reader\n", New: "\t\tpanic(\"stack.Options without SecureRNG\")\n"},
	{File: "pkg/tcpip/stack/stack.go", Count: 1,
		Old: "\t\tif err := binary.Read(opts.SecureRNG, binary.LittleEndian, &v); err != nil {\n\t\t\tpanic(err)\n\t\t}\n",
		New: "\t\tpanic(\"stack.Options without RandSource\")\n"},
	{File: "pkg/tcpip/stack/stack.go", Old: "\t\"encoding/binary\"\n", New: "", Count: 1},
	{File: "pkg/tcpip/stack/stack.go", Count: 1,
		Old: "\t\t\topts.DefaultIPTables = DefaultTables\n", New: "\t\t\tpanic(\"stack.Options without IPTables\")\n"},

	// Packet filters, address translation and connection tracking are off
	// until someone sets rules, which an appliance cannot.
	{File: "pkg/tcpip/stack/iptables.go", Count: 5,
		Old: "\tif it.shouldSkipOrPopulateTables(tables[:], pkt) {\n", New: "\tif true {\n"},

	// Nothing is forwarded: an appliance has one interface.
	{File: "pkg/tcpip/network/ipv4/ipv4.go", Old: "} else if e.Forwarding() {", New: "} else if false {", Count: 1},
	{File: "pkg/tcpip/network/ipv6/ipv6.go", Old: "} else if e.Forwarding() {", New: "} else if false {", Count: 1},
	{File: "pkg/tcpip/network/ipv4/ipv4.go", Count: 1,
		Old: "multicastForwarding := e.MulticastForwarding() && e.protocol.multicastForwarding()",
		New: "const multicastForwarding = false"},
	{File: "pkg/tcpip/network/ipv6/ipv6.go", Count: 1,
		Old: "multicastForwading := e.MulticastForwarding() && e.protocol.multicastForwarding()",
		New: "const multicastForwading = false"},

	// Raw sockets and ping sockets: nobody opens one. Echo requests are answered
	// below them.
	{File: "pkg/tcpip/transport/tcp/protocol.go", Count: 1,
		Old: "return raw.NewEndpoint(p.stack, netProto, header.TCPProtocolNumber, waiterQueue)",
		New: "return nil, &tcpip.ErrNotSupported{}"},
	{File: "pkg/tcpip/transport/udp/protocol.go", Count: 1,
		Old: "return raw.NewEndpoint(p.stack, netProto, header.UDPProtocolNumber, waiterQueue)",
		New: "return nil, &tcpip.ErrNotSupported{}"},
	{File: "pkg/tcpip/transport/icmp/protocol.go", Count: 1,
		Old: "return raw.NewEndpoint(p.stack, netProto, p.number, waiterQueue)",
		New: "return nil, &tcpip.ErrNotSupported{}"},
	{File: "protocol.go", Old: "\t\"gvisor.dev/gvisor/pkg/tcpip/transport/raw\"\n", New: "", Count: 3},
	{File: "pkg/tcpip/transport/icmp/protocol.go", Count: 1,
		Old: "return newEndpoint(p.stack, netProto, p.number, waiterQueue)",
		New: "return nil, &tcpip.ErrNotSupported{}"},

	// Two thousand identifiers are drawn at the start, 8 KB of them: by a generator
	// with a seed from there, not from the system's source.
	{File: "pkg/tcpip/network/ipv4/ipv4.go", Count: 1,
		Old: "r := hash.RandN32(1 + buckets)\n", New: "r := hash.Many(1 + buckets)\n"},

	// Sequence numbers, timestamp offsets and SYN cookies come from a keyed hash
	// (libos/netif/prf). So would interface identifiers made from secrets, which
	// netif does not ask for.
	{File: "pkg/tcpip/transport/tcp/accept.go", Count: 1,
		Old: "\t\"crypto/sha1\"\n", New: "\tsha1 \"gvisor.dev/gvisor/pkg/tcpip/hash/keyed\"\n"},
	{File: "*.go", Count: 3,
		Old: "\t\"crypto/sha256\"\n", New: "\tsha256 \"gvisor.dev/gvisor/pkg/tcpip/hash/keyed\"\n"},

	// Congestion control is Reno's in netif: this release's CUBIC may stop for ever.
	{File: "pkg/tcpip/transport/tcp/snd.go", Old: "return newCubicCC(s)", New: "return newRenoCC(s)", Count: 1},
	// Reading and writing by readers and writers: netif has slices (straight.go).
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1,
		Old: "func (e *Endpoint) Read(dst io.Writer,", New: "func (e *Endpoint) generalRead(dst io.Writer,"},
	{File: "pkg/tcpip/transport/tcp/endpoint.go", Count: 1,
		Old: "func (e *Endpoint) Write(p tcpip.Payloader,", New: "func (e *Endpoint) generalWrite(p tcpip.Payloader,"},
	// The device cuts large segments, or there are none.
	{File: "pkg/tcpip/transport/tcp/connect.go", Count: 1,
		Old: "gso.Type == stack.GSOGvisor && int(gso.MSS) < pkt.Data().Size() {", New: "false {"},
	// A copy of a connection's state for tests of the stack itself.
	{File: "pkg/tcpip/transport/tcp/connect.go", Old: "if fn := e.probe; fn != nil {", New: "if fn := e.probe; false {", Count: 1},

	// io.Copy calls WriteTo and ReadFrom of whatever it is given, so that each
	// such method of any type would stay, as those of os.File with their splice
	// and sendfile. Here the types are known.
	{File: "pkg/buffer/buffer.go", Old: "io.Copy(v, lr)", New: "v.ReadFrom(lr)", Count: 1},
	{File: "pkg/buffer/buffer.go", Old: "io.Copy(w, view)", New: "view.WriteTo(w)", Count: 1},
	{File: "pkg/tcpip/header/ipv6_extension_headers.go", Count: 1,
		Old: "io.CopyN(bytes, i.reader, int64(length))",
		New: "io.ReadFull(i.reader, func() []byte { bytes.Grow(int(length)); return bytes.AsSlice() }())"},
	{File: "pkg/tcpip/header/ipv6_extension_headers.go", Count: 1,
		Old: "io.CopyN(v, &rdr, int64(bytesLen))",
		New: "io.ReadFull(&rdr, func() []byte { v.Grow(bytesLen); return v.AsSlice() }())"},

	// Counters are found by reflection, for which every structure would keep the
	// names and types of its fields (boot/image, types.go). Statistics are pointers
	// to counters and nothing else, but for two maps.
	{File: "pkg/tcpip/tcpip.go", Count: 1,
		Old: "func InitStatCounters(v reflect.Value) {\n\tfor i := 0; i < v.NumField(); i++ {\n\t\tv := v.Field(i)\n" +
			"\t\tif s, ok := v.Addr().Interface().(**StatCounter); ok {\n\t\t\tif *s == nil {\n\t\t\t\t*s = new(StatCounter)\n\t\t\t}\n" +
			"\t\t} else if s, ok := v.Addr().Interface().(**IntegralStatCounterMap); ok {\n\t\t\tif *s == nil {\n" +
			"\t\t\t\t*s = new(IntegralStatCounterMap)\n\t\t\t\t(*s).Init()\n\t\t\t}\n\t\t} else {\n\t\t\tInitStatCounters(v)\n\t\t}\n\t}\n}\n",
		New: "func InitStatCounters[T any](v *T) {\n\tvar nic *NICStats\n\tswitch s := any(v).(type) {\n\tcase *NICStats:\n\t\tnic = s\n" +
			"\tcase *Stats:\n\t\tnic = &s.NICs\n\t}\n\tif nic != nil {\n" +
			"\t\tfor _, m := range []**IntegralStatCounterMap{&nic.UnknownL3ProtocolRcvdPacketCounts, &nic.UnknownL4ProtocolRcvdPacketCounts} {\n" +
			"\t\t\tif *m == nil {\n\t\t\t\t*m = new(IntegralStatCounterMap)\n\t\t\t\t(*m).Init()\n\t\t\t}\n\t\t}\n\t}\n" +
			"\tinitStatCounters(unsafe.Slice((**StatCounter)(unsafe.Pointer(v)), unsafe.Sizeof(*v)/unsafe.Sizeof((*StatCounter)(nil))))\n}\n\n" +
			"func initStatCounters(all []*StatCounter) {\n\tfor i, c := range all {\n\t\tif c == nil {\n\t\t\tall[i] = new(StatCounter)\n\t\t}\n\t}\n}\n"},
	{File: "pkg/tcpip/tcpip.go", Count: 2,
		Old: "InitStatCounters(reflect.ValueOf(&s).Elem())", New: "InitStatCounters(&s)"},
	{File: "pkg/tcpip/tcpip.go", Count: 1, Old: "\t\"time\"\n", New: "\t\"time\"\n\t\"unsafe\"\n"},
	{File: "pkg/tcpip/network/arp/arp.go", Count: 1,
		Old: "InitStatCounters(reflect.ValueOf(&e.stats.localStats).Elem())", New: "InitStatCounters(&e.stats.localStats)"},
	{File: "pkg/tcpip/network/ipv4/ipv4.go", Count: 1,
		Old: "InitStatCounters(reflect.ValueOf(&e.stats.localStats).Elem())", New: "InitStatCounters(&e.stats.localStats)"},
	{File: "pkg/tcpip/network/ipv6/ipv6.go", Count: 1,
		Old: "InitStatCounters(reflect.ValueOf(&e.stats.localStats).Elem())", New: "InitStatCounters(&e.stats.localStats)"},
	{File: "pkg/tcpip/stack/nic.go", Count: 1,
		Old: "InitStatCounters(reflect.ValueOf(&stats.local).Elem())", New: "InitStatCounters(&stats.local)"},
	{File: "pkg/tcpip/network/arp/arp.go", Old: "\t\"reflect\"\n", New: "", Count: 1},
	{File: "pkg/tcpip/network/ipv4/ipv4.go", Old: "\t\"reflect\"\n", New: "", Count: 1},
	{File: "pkg/tcpip/network/ipv6/ipv6.go", Old: "\t\"reflect\"\n", New: "", Count: 1},
	{File: "pkg/tcpip/stack/nic.go", Old: "\t\"reflect\"\n", New: "", Count: 1},

	// IGMP is off in netif: there is no multicast over IPv4 but for the group of
	// all systems, which is never reported (RFC 3376, section 6).
	{File: "pkg/tcpip/network/ipv4/ipv4.go", Count: 1,
		Old: "\t\te.igmp.handleIGMP(pkt, hasRouterAlertOption)\n", New: "\t\t_ = hasRouterAlertOption\n"},
}

// Optional are the edits that leave out what only some configurations ask for,
// by the name of what is left out.
var Optional = map[string][]edit.Edit{
	// Fragments are dropped before the stack sees them.
	Fragments: {
		{File: "pkg/tcpip/network/ipv4/ipv4.go", Count: 1,
			Old: "\tif h.More() || h.FragmentOffset() != 0 {\n",
			New: "\tif h.More() || h.FragmentOffset() != 0 {\n\t\tstats.ip.MalformedFragmentsReceived.Increment()\n\t\treturn\n\t}\n\tif false {\n"},
		{File: "pkg/tcpip/network/ipv6/ipv6.go", Count: 1,
			Old: "if err := e.processFragmentExtHdr(&extHdr, it, pkt, h); err != nil {",
			New: "if err := fmt.Errorf(\"fragments are not reassembled\"); err != nil {"},
	},
	// Router advertisements may change addresses and routes.
	RouterAdvertisements: {
		{File: "pkg/tcpip/network/ipv6/ndp.go", Count: 2,
			Old: "\tif !ndp.configs.HandleRAs.enabled(ndp.ep.Forwarding()) {\n", New: "\tif true {\n"},
		{File: "pkg/tcpip/network/ipv6/ndp.go", Count: 1,
			Old: "\tif !ndp.configs.AutoGenTempGlobalAddresses || prefix == header.IPv6LinkLocalPrefix.Subnet() {\n", New: "\tif true {\n"},
		{File: "pkg/tcpip/header/ndp_options.go", Count: 1, New: "",
			Old: "\t\t\topt := NDPRecursiveDNSServer(body)\n\t\t\tif err := opt.checkAddresses(); err != nil {\n\t\t\t\treturn nil, true, err\n\t\t\t}\n\n\t\t\treturn opt, false, nil\n"},
		{File: "pkg/tcpip/header/ndp_options.go", Count: 1, New: "",
			Old: "\t\t\topt := NDPDNSSearchList(body)\n\t\t\tif err := opt.checkDomainNames(); err != nil {\n\t\t\t\treturn nil, true, err\n\t\t\t}\n\n\t\t\treturn opt, false, nil\n"},
	},
}

// What an image may do without.
const (
	Fragments            = "fragments"             // reassembly of IP fragments
	RouterAdvertisements = "router advertisements" // and addresses made from them
)
