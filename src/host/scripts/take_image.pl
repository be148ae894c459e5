# Takes one image from another host and loads it on this host's Engine: ADDRESS PORT. The first line of
# standard input is the token. Prints the number of bytes so far, a line each second, and what
# `docker load` prints.
use strict;
use warnings;
use IO::Socket::INET;

# A write to whoever left is an error with words.
$SIG{PIPE} = 'IGNORE';
my ($address, $port) = @ARGV;
chomp(my $token = <STDIN> // '');
my $giver = IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port, Proto => 'tcp', Timeout => 10)
  or die "cannot connect to $address:$port: $@\n";
syswrite($giver, "$token\n");
$| = 1;
open(my $load, '|-', 'docker', 'load', '--quiet') or die "cannot run docker load: $!\n";
my ($total, $shown) = (0, time);
while (my $read = sysread($giver, my $bytes, 1 << 17)) {
  for (my $at = 0; $at < length $bytes;) {
    $at += syswrite($load, $bytes, length($bytes) - $at, $at) // die "docker load left: $!\n";
  }
  $total += $read;
  next if time == $shown;
  $shown = time;
  print "$total\n";
}
die "$address sent nothing\n" if $total == 0;
close $load or die "docker load failed\n";
