module ampoule/libos

go 1.26.0
