package SyTest::LeftOut;

# Skips tests whose failure is right (expected/excused.tsv) and would take tests after them along: what they wait for
# goes on waiting, and answers the requests of the others.

use strict;
use warnings;

my %LEFT_OUT = (
   "Don't get pushed for rooms you've muted" => "mentions are told by m.mentions [cs \"Predefined Rules\"]",
);

my $push_test = \&main::_push_test;

no warnings 'redefine';
*main::_push_test = sub {
   my ( $file, $multi, $name, %params ) = @_;
   if( my $reason = $LEFT_OUT{$name} ) {
      $params{requires} = [ main::fixture( setup => sub { die "SKIP: $reason\n" } ) ];
   }
   return $push_test->( $file, $multi, $name, %params );
};

1;
