use crate::FormatError;

/// Appends the parts of a file.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn number(&mut self, mut value: u64) {
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.number(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Takes the parts of a file, in the order in which they were written. No
/// length is believed beyond what is there.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn number(&mut self) -> Result<u64, FormatError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(*self.bytes(1)?.first().ok_or(FormatError::Damaged)?);
            let bits = byte & 0x7f;
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(FormatError::Damaged)
    }

    pub(crate) fn bytes(&mut self, len: u64) -> Result<&'a [u8], FormatError> {
        let len = usize::try_from(len).map_err(|_| FormatError::Damaged)?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(FormatError::Damaged)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<String, FormatError> {
        let len = self.number()?;
        let text = std::str::from_utf8(self.bytes(len)?);
        Ok(text.map_err(|_| FormatError::Damaged)?.to_owned())
    }

    pub(crate) fn flag(&mut self) -> Result<bool, FormatError> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FormatError::Damaged),
        }
    }

    pub(crate) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Vec<T>, FormatError> {
        // Not reserved beforehand: the items have to be there first.
        let mut items = Vec::new();
        for _ in 0..self.number()? {
            items.push(read(self)?);
        }
        Ok(items)
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Option<T>, FormatError> {
        self.flag()?.then(|| read(self)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every number comes back; one of more than 64 bits, or cut short, is refused.
    #[test]
    fn numbers() {
        let mut writer = Writer::default();
        let numbers = [0, 1, 127, 128, 300, 1 << 63, u64::MAX];
        for number in numbers {
            writer.number(number);
        }
        let mut reader = Reader(&writer.0);
        for number in numbers {
            assert_eq!(reader.number().unwrap(), number);
        }
        reader.number().unwrap_err();
        Reader(&[0x80]).number().unwrap_err();
        Reader(&[0xff; 11]).number().unwrap_err();
        let mut more = [0xff; 10];
        more[9] = 2;
        Reader(&more).number().unwrap_err();
    }
}
