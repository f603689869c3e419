//! The list of connections.

use std::io::{self, Write};

use lvs::ipvs::{Connection, EngineData};
use lvs::{Error, Protocol};

use crate::line::Line;
use crate::names::Names;
use crate::output::endpoint;

/// Writes the list: a line of titles, then the connections in the kernel's order. The outer result is that of writing.
pub(crate) fn list(
    out: &mut impl Write,
    connections: impl IntoIterator<Item = Result<Connection, Error>>,
    engines: bool,
    names: Option<&Names>,
) -> io::Result<Result<(), Error>> {
    writeln!(out, "IPVS connection entries")?;
    let ends = format!("{:<11} {:<18} {:<18}", "state", "source", "virtual");
    if engines {
        writeln!(out, "pro expire {ends} {:<18} {:<16} pe_data", "destination", "pe name")?;
    } else {
        writeln!(out, "pro expire {ends} destination")?;
    }
    let mut line = Line::default();
    for connection in connections {
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                line.write_to(out)?;
                return Ok(Err(error));
            }
        };
        protocol(&mut line, connection.protocol);
        line.text(" ");
        expiry(&mut line, connection.expires.as_secs());
        line.text(" ");
        line.display(format_args!("{:<11} ", connection.state));
        for address in [connection.client, connection.virtual_address] {
            let column = line.len() + 18;
            endpoint(&mut line, names, address, Some(connection.protocol));
            line.pad_to(column);
            line.text(" ");
        }
        let column = line.len() + 16;
        endpoint(&mut line, names, connection.destination, Some(connection.protocol));
        // The titles do not stand above their columns.
        if let Some(EngineData { engine, data, .. }) = connection.engine.filter(|_| engines) {
            line.pad_to(column);
            line.display(format_args!(" {engine:<18} "));
            line.bytes(&data);
        }
        line.end(out)?;
    }
    line.write_to(out).map(Ok)
}

/// Appends the kernel's word for a protocol.
fn protocol(line: &mut Line, protocol: Protocol) {
    match protocol {
        Protocol::TCP => line.text("TCP"),
        Protocol::UDP => line.text("UDP"),
        Protocol::SCTP => line.text("SCTP"),
        Protocol(0) => line.text("IP "),
        Protocol(other) => line.display(format_args!("IP_{other}")),
    }
}

fn two_digits(line: &mut Line, number: u64) {
    if number < 10 {
        line.text("0");
    }
    line.number(number);
}

/// Appends minutes and seconds.
fn expiry(line: &mut Line, seconds: u64) {
    let column = line.len() + 6;
    two_digits(line, seconds / 60);
    line.text(":");
    two_digits(line, seconds % 60);
    line.pad_to(column);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::some_names;
    use lvs::ipvs::Connections;

    const TEXT: &str = "\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A000001 B108 0A000001 0050 0A090101 0050 ESTABLISHED     899
TCP fd00:0000:0000:0000:0000:0000:0000:0001 C0FE fd00:0000:0000:0000:0000:0000:0000:0001 0050 fd00:0000:0000:0000:0000:0000:0000:0002 0050 FIN_WAIT        119
UDP 0A000004 0000 0A000001 0202 0A090101 13C4 NONE             59 sip abcdef123456@pc33.example.com
SCTP 0A000002 8AD7 0A000001 0F1C 0A090101 0F1C S-ACK-SENT       60
IP  0A000003 0000 00000007 0000 0A090101 0000 ASSURED     2678400
";

    fn listed(text: &[u8], engines: bool, names: Option<&Names>) -> Result<String, Error> {
        let mut out = Vec::new();
        list(&mut out, Connections::from_reader(text), engines, names).unwrap()?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn connections_are_listed_as_ipvsadm_does() {
        let expected = "\
IPVS connection entries
pro expire state       source             virtual            destination
TCP 14:59  ESTABLISHED 10.0.0.1:45320     10.0.0.1:80        10.9.1.1:80
TCP 01:59  FIN_WAIT    [fd00::1]:49406    [fd00::1]:80       [fd00::2]:80
UDP 00:59  NONE        10.0.0.4:0         10.0.0.1:514       10.9.1.1:5060
SCTP 01:00  S-ACK-SENT  10.0.0.2:35543     10.0.0.1:3868      10.9.1.1:3868
IP  44640:00 ASSURED     10.0.0.3:0         0.0.0.7:0          10.9.1.1:0
";
        assert_eq!(listed(TEXT.as_bytes(), false, None).unwrap(), expected);
    }

    #[test]
    fn persistence_engines_have_columns_of_their_own() {
        let text = listed(TEXT.as_bytes(), true, None).unwrap();
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(
            [lines[0], lines[1], lines[3]],
            [
                "pro expire state       source             virtual            destination        pe name          pe_data",
                "TCP 14:59  ESTABLISHED 10.0.0.1:45320     10.0.0.1:80        10.9.1.1:80",
                "UDP 00:59  NONE        10.0.0.4:0         10.0.0.1:514       10.9.1.1:5060    sip                \
                 abcdef123456@pc33.example.com",
            ]
        );
    }

    #[test]
    fn addresses_and_ports_have_names() {
        let text = listed(TEXT.as_bytes(), false, Some(&some_names())).unwrap();
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines[0], "TCP 14:59  ESTABLISHED vip.example.com:45320 vip.example.com:http 10.9.1.1:http");
        assert_eq!(lines[1], "TCP 01:59  FIN_WAIT    [six]:49406        [six]:http         [fd00::2]:http");
        assert_eq!(lines[2], "UDP 00:59  NONE        10.0.0.4:0         vip.example.com:syslog 10.9.1.1:5060");
    }

    #[test]
    fn what_an_engine_knows_is_written_as_it_is() {
        let mut out = Vec::new();
        let text = b"UDP 0A000004 0000 0A000001 0202 0A090101 13C4 NONE             59 sip caf\xe9 x\n";
        list(&mut out, Connections::from_reader(text.as_slice()), true, None).unwrap().unwrap();
        assert!(out.ends_with(b" caf\xe9 x\n"));
    }

    #[test]
    fn a_line_that_cannot_be_read_ends_the_list() {
        assert!(listed(b"TCP nonsense\n", false, None).is_err());
    }
}
