module toots.test/standins

go 1.24
