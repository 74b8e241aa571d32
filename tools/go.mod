module ampoule/tools

go 1.26.0

require ampoule/libos v0.0.0

replace ampoule/libos => ../libos

require ampoule/boot v0.0.0

require golang.org/x/sys v0.36.0

replace ampoule/boot => ../boot
