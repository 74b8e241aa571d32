package image

// Echo is the table [echo].
type Echo struct{ Port int }

func echoTable() *table {
	return &table{name: "echo", about: "the echo appliance", keys: []key{
		{name: "port", want: integer{1, 65535}, def: 7, about: "port of UDP and TCP"},
	}}
}
