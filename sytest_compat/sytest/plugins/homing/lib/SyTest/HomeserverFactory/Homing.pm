package SyTest::HomeserverFactory::Homing;

# -I Homing: runs sytest_compat/sytest/launch.py of the repository that this plugin lies in.

use strict;
use warnings;

use base qw( SyTest::HomeserverFactory );

use SyTest::Homeserver::Homing;

sub _init {
   my ( $self, $params ) = @_;
   $self->{options} = { python => "python3", databases => [] };
   $self->{show_output} = 0;
   return $self->SUPER::_init( $params );
}

# Tests that are marked as specific to another implementation are not for us.
sub implementation_name { "homing" }

sub get_options {
   my $self = shift;
   my $options = $self->{options};
   return (
      'python=s'       => \$options->{python},
      'database-url=s' => $options->{databases},
      'S|server-log+'  => \$self->{show_output},
      $self->SUPER::get_options(),
   );
}

sub print_usage {
   print STDERR <<'EOF2';
       --python PATH      - the interpreter of Homing's environment
       --database-url URL - a database; once for each server, in order. Without
                            it each server has a PostgreSQL of its own
   -S, --server-log       - show what the server prints
EOF2
}

sub create_server {
   my ( $self, %params ) = @_;
   my $options = $self->{options};
   return SyTest::Homeserver::Homing->new(
      %params,
      python       => $options->{python},
      database_url => $options->{databases}[ $params{hs_index} ],
      show_output  => $self->{show_output},
   );
}

1;
