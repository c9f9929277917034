package SyTest::Homeserver::Homing;

# One Homing: clients speak plain HTTP to it on one port, other servers TLS on
# another. What the harness knows is written to sytest.json; launch.py makes a
# configuration of it.

use strict;
use warnings;

use base qw( SyTest::Homeserver );

use Cwd qw( getcwd );
use JSON;

use SyTest::SSL qw( ensure_ssl_key create_ssl_cert );

sub _init {
   my ( $self, $args ) = @_;

   $self->{$_} = delete $args->{$_} for qw( python database_url show_output );
   $self->SUPER::_init( $args );

   my $index = $self->{hs_index};
   $self->{federation_port} = main::alloc_port( "homeserver[$index].federation" );
   $self->{client_port}     = main::alloc_port( "homeserver[$index].client" );
}

# what tests are told about the server
sub server_name     { my $self = shift; return "$self->{bind_host}:$self->{federation_port}" }
sub federation_host { $_[0]{bind_host} }
sub federation_port { $_[0]{federation_port} }
sub public_baseurl  { my $self = shift; return "http://$self->{bind_host}:$self->{client_port}" }

sub start {
   my $self = shift;
   my $dir = $self->{hs_dir};

   ensure_ssl_key( "$dir/tls.key" );
   create_ssl_cert( "$dir/tls.crt", "$dir/tls.key", $self->{bind_host} );

   my $told = $self->write_json_file( "sytest.json", {
      server_name       => $self->server_name,
      public_baseurl    => $self->public_baseurl,
      listen            => "$self->{bind_host}:$self->{client_port}",
      federation_listen => "$self->{bind_host}:$self->{federation_port}",
      folder            => "$dir/data",
      log               => "$dir/homeserver.log",
      tls_certificate   => "$dir/tls.crt",
      tls_key           => "$dir/tls.key",
      federation_ca     => getcwd . "/keys/ca.crt",
      database_url      => $self->{database_url} // "",
      smtp              => $self->{smtp_server_config},
      recaptcha         => $self->{recaptcha_config},
      cas               => $self->{cas_config},
      app_service_files => $self->{app_service_config_files} // [],
   } );

   # The listener for other servers is the last to be opened.
   my $started = $self->_start_process_and_await_connectable(
      command      => [ $self->{python}, "-m", "sytest_compat.sytest.launch", $told ],
      connect_host => $self->{bind_host},
      connect_port => $self->{federation_port},
      name         => "homeserver-$self->{hs_index}",
   );
   if( $self->{show_output} ) {
      $_->print_output = 1 for values %{ $self->{proc_info} };
   }
   return $started;
}

1;
