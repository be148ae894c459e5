# Gives one image of this host's Engine to one other host: ADDRESS PEER IMAGE. The first line of
# standard input is the token. Prints the port on which it listens at ADDRESS, for 20 s at most;
# whoever comes from another address than PEER, or does not know the token, gets nothing.
use strict;
use warnings;
use IO::Socket::INET;

# A write to whoever left is an error with words.
$SIG{PIPE} = 'IGNORE';
my ($address, $peer, $image) = @ARGV;
chomp(my $token = <STDIN> // '');
die "no token\n" if $token eq '';
my $server = IO::Socket::INET->new(LocalAddr => $address, Proto => 'tcp', Listen => 1)
  or die "cannot listen at $address: $@\n";
$| = 1;
print $server->sockport, "\n";

alarm 20;
my $taker;
while (1) {
  $taker = $server->accept or next;
  last if $taker->peerhost eq $peer && line($taker) eq $token;
  close $taker;
}
alarm 0;
close $server;
open(my $save, '-|', 'docker', 'save', $image) or die "cannot run docker save: $!\n";
while (sysread($save, my $bytes, 1 << 17)) {
  for (my $at = 0; $at < length $bytes;) {
    $at += syswrite($taker, $bytes, length($bytes) - $at, $at) // die "the other host left: $!\n";
  }
}
close $save or die "docker save failed\n";
shutdown($taker, 1);

# A line, without its end; at most 100 bytes.
sub line {
  my ($from) = @_;
  my $line = '';
  while (length $line < 100 && sysread($from, my $byte, 1)) {
    return $line if $byte eq "\n";
    $line .= $byte;
  }
  return '';
}
