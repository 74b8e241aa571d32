module ampoule/boot

go 1.26.0

require ampoule/libos v0.0.0

replace ampoule/libos => ../libos

require ampoule/drivers v0.0.0

require golang.org/x/arch v0.32.0

replace ampoule/drivers => ../drivers
